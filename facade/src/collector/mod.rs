//! Deleting the bytes that no Model needs any more. Only here: the operator has no access to the object store,
//! and bytes are shared by hash between Models of all namespaces, so that no single deletion can tell.
//!
//! Two folders are collected, `models/sha256/<hash>` and `models/<namespace>/<model>/upload/`; whatever else is in
//! the bucket is left alone. An object goes when it is older than a grace period, no Model names it, no import
//! has claimed its hash lately and no unfinished job needs it. What is known of the Models is read from the API
//! server after the objects were listed, so a Model that came in between is seen.

mod claim;
mod command;
mod place;
mod references;
mod sweep;

pub use claim::claim;
pub use command::{GcError, collect_now};
pub use place::{HASH_FOLDER, Kind, hash_key};
pub use sweep::{Collector, Figures, Orphan, SweepError};
