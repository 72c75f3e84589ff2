//! Merging single-file checkpoints: weighted sum, add difference, sigmoid, weights by block, a baked VAE.
//!
//! Files are read and written tensor by tensor, in pieces of a few megabytes, so memory does not depend
//! on their size. The arithmetic is that of the web UI's checkpoint merger in f32, operation by operation;
//! the same plan and files make the same bytes.

mod arithmetic;
mod blocks;
mod error;
mod jobs;
mod plan;
mod recipe;
mod run;
mod vae;

pub use error::MergeError;
pub use plan::{MergePlan, MergeSource, Method, OutputPrecision};
pub use run::{MergeProgress, MergeStage, Merged, merge};
