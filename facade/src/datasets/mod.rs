//! The pictures of a Dataset, wherever they are listed: in the object itself, or in a manifest in the object store.

mod items;
mod manifest;

pub use items::{ItemsError, items, key};
pub use manifest::{LineError, Manifests, is_file_name};
