//! Deleting the bytes that no Model, TrainingJob and Dataset needs any more. Only here: the operator has no access to
//! the object store, and bytes are shared by hash between objects of all namespaces, so that no single deletion can
//! tell.
//!
//! Collected are `models/sha256/<hash>`, `models/<namespace>/<model>/upload/`, and what [`crate::folders`] tells of
//! training and data sets; whatever else is in the bucket is left alone. An object goes when it is older than a grace
//! period, nothing names it, no import has claimed its hash lately and no unfinished job needs it. What is known of
//! the Kubernetes objects is read from the API server after the bytes were listed, so one that came in between is
//! seen. A Dataset keeps all of its folder, listed or not: pictures come before they are listed. Where a Dataset has
//! a manifest, which is not read here, every picture of the namespace stays.

mod claim;
mod command;
mod place;
mod references;
mod sweep;

pub use claim::claim;
pub use command::{GcError, collect_now};
pub use place::{HASH_FOLDER, Kind, hash_key};
pub use sweep::{Collector, Figures, Orphan, SweepError};
