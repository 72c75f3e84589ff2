//! Pictures of a Dataset on their way into the working directory: what trainers and checkers have in common.

mod error;
mod walk;

pub use error::PicturesError;
pub(crate) use walk::{Fetched, Pictures, differs};
