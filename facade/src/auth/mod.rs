//! Who calls: `x-api-key` to a [`Caller`]. A key is known by its SHA-256 only; the namespace of the ApiKey
//! object is the tenant, and a call sees nothing else.

mod caller;
mod keys;

pub use caller::{Caller, require};
pub use keys::{Denied, Scope, find};
