//! Pictures as files, with their parameters inside.

mod error;
mod exif;
mod infotext;
pub mod jpeg;
pub mod png;

pub use error::EncodeError;
pub use infotext::{Credits, infotext};
