//! Weight files on the pod's disk, by their sha256.

mod disk;
mod error;
mod index;

pub use disk::{CachedFile, DiskCache};
pub use error::CacheError;
