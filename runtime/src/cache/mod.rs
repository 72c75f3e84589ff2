//! Weight files on the pod's disk, by their sha256.

mod disk;
mod error;
mod folder;
mod index;
mod locks;

pub use disk::{CachedFile, CachedModel, DiskCache};
pub use error::CacheError;

#[cfg(test)]
mod tests;
