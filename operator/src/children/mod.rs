//! Children: objects that the operator makes for one of the kinds that it reconciles. How one is compared with what is
//! live, applied, and removed; which ones there are is the business of the kinds' own folders.

mod apply;
mod compare;
mod fingerprint;
mod owner;

pub use apply::{ApplyCache, Children, apply, list, prune};
pub use compare::is_within;
pub use fingerprint::{fingerprint, sha256_hex};
pub use owner::{Owner, Ownership};
