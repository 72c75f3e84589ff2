//! The loop of training: steps, checkpoints, going on after an interruption.
//!
//! No clock and no threads in here: who watches a run ([`Watcher`]) also measures and ends it.

mod batches;
mod checkpoint;
mod error;
mod folder;
mod learner;
mod options;
mod session;
#[cfg(test)]
mod tests;
mod weights;

pub use batches::{BatchOptions, Batches};
pub use checkpoint::CheckpointError;
pub use error::RunError;
pub use folder::Checkpoints;
pub use learner::{Learner, Progress, Source, Watcher};
pub use options::{CheckpointOptions, Rates, RunOptions};
pub use session::{Outcome, run};
