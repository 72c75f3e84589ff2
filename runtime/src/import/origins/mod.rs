//! Where the files of an import are: each kind of origin, resolved to files that can be fetched.

mod api;
mod choose;
mod civitai;
mod error;
mod hugging_face;
mod pattern;
mod resolve;
mod volume;

pub use error::OriginError;
pub(super) use resolve::{ResolvedFile, ResolvedPlace, resolve};
pub(super) use volume::{CopyBounds, copy};
