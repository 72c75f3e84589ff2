//! Bytes on their way into the object store, at presigned addresses: a file in parts, or something small at once.

mod error;
mod parts;
mod put;

pub use error::UploadError;
pub use parts::Parts;
pub use put::put;
