//! Why a run ends before its last step.

use super::checkpoint::CheckpointError;
use crate::train::TrainError;
use crate::train::data::DataError;

/// What failed, in which step.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    #[error(transparent)]
    Data(#[from] DataError),
    #[error(transparent)]
    Train(#[from] TrainError),
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
    #[error("`{option}` is {value}: {allowed}")]
    Option { option: &'static str, value: String, allowed: &'static str },
    #[error(
        "the loss of step {step} is {loss} (learning rate {learning_rate:e}): the training diverged; lower the \
         learning rate, clip the gradients or warm up longer, and go on from a checkpoint before this step"
    )]
    LossNotFinite { step: u64, loss: f32, learning_rate: f64 },
    #[error(
        "the gradients of step {step} have norm {norm} (loss {loss}, learning rate {learning_rate:e}): the \
         training diverged; lower the learning rate or warm up longer, and go on from a checkpoint before this step"
    )]
    GradientNotFinite { step: u64, norm: f64, loss: f32, learning_rate: f64 },
    #[error("{count} gradients came for {variables} variables")]
    GradientCount { count: usize, variables: usize },
    #[error("the variable `{name}` cannot be read or written")]
    Variable { name: String, source: candle_core::Error },
    #[error("the pictures of step {step} cannot be drawn: {detail}")]
    Sample { step: u64, detail: String },
}

impl RunError {
    /// Stable CamelCase word for statuses and metrics.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::Data(e) => e.reason(),
            Self::Train(e) => e.reason(),
            Self::Checkpoint(e) => e.reason(),
            Self::Option { .. } => "InvalidOption",
            Self::LossNotFinite { .. } | Self::GradientNotFinite { .. } => "TrainingDiverged",
            Self::GradientCount { .. } | Self::Variable { .. } => "TensorError",
            Self::Sample { .. } => "SampleFailed",
        }
    }

    /// Does trying again with the same settings make sense?
    pub fn retriable(&self) -> bool {
        match self {
            Self::Data(e) => e.retriable(),
            Self::Train(e) => e.retriable(),
            Self::Checkpoint(e) => e.retriable(),
            Self::Option { .. }
            | Self::LossNotFinite { .. }
            | Self::GradientNotFinite { .. }
            | Self::GradientCount { .. }
            | Self::Variable { .. }
            | Self::Sample { .. } => false,
        }
    }
}
