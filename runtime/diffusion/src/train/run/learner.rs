//! What the loop asks of a model, of the data, and of who watches.

use std::ops::ControlFlow;
use std::path::Path;

use candle_core::Tensor;

use super::error::RunError;
use crate::train::NamedVar;

/// Something with variables and gradients.
pub trait Learner {
    /// What a gradient is computed from.
    type Batch;

    /// The variables, always in the same order.
    fn variables(&self) -> &[NamedVar];

    /// The loss of a batch, and its gradient for each variable, in their order.
    ///
    /// # Errors
    /// The batch does not fit or the arithmetic fails.
    fn gradients(&self, batch: &Self::Batch) -> Result<(f32, Vec<Tensor>), RunError>;
}

/// Where batches come from.
pub trait Source {
    type Batch;

    /// Batch number `index` of the run, from 0: a function of the number alone, so that a run can go on
    /// anywhere.
    ///
    /// # Errors
    /// The data cannot be read or used.
    fn batch(&mut self, index: u64) -> Result<Self::Batch, RunError>;
}

/// How far a run is, after a step.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Progress {
    /// Finished steps.
    pub step: u64,
    pub total: u64,
    /// Of this step, the mean over its accumulated batches.
    pub loss: f32,
    /// Of the UNet, in this step.
    pub learning_rate: f64,
    /// Of all gradients together, before they were clipped.
    pub gradient_norm: f64,
}

/// Follows a run and may end it between steps.
pub trait Watcher<L> {
    /// Called after every step. `Break` ends the run, with a checkpoint if there is a folder for them.
    fn progress(&mut self, progress: &Progress) -> ControlFlow<()>;

    /// The run goes on after this many steps of an earlier one.
    fn resumed(&mut self, _step: u64) {}

    /// A checkpoint was written.
    fn saved(&mut self, _step: u64, _path: &Path) {}

    /// Time for pictures; the variables hold their averages if the run keeps any.
    ///
    /// # Errors
    /// Ends the run.
    fn sample(&mut self, _step: u64, _learner: &L) -> Result<(), RunError> {
        Ok(())
    }
}
