//! Why a model cannot be trained.

use crate::adapters::HypernetworkError;
use crate::pipeline::LoadError;
use crate::text::{EmbeddingError, TextError};
use crate::weights::WeightError;

/// Why training does not begin, does not go on, or leaves no file.
#[derive(Debug, thiserror::Error)]
pub enum TrainError {
    #[error(transparent)]
    Load(Box<LoadError>),
    #[error(transparent)]
    Weights(Box<WeightError>),
    #[error(transparent)]
    Text(#[from] TextError),
    #[error(transparent)]
    Embedding(#[from] EmbeddingError),
    #[error(transparent)]
    Hypernetwork(Box<HypernetworkError>),
    #[error("{model} cannot be trained by this method: {remedy}")]
    Unsupported { model: String, remedy: &'static str },
    #[error("`{option}` is {value}; {limit}")]
    Option { option: &'static str, value: String, limit: String },
    #[error("this model's autoencoder has no encoder: use a complete checkpoint")]
    NoEncoder,
    #[error("the batch's {part} {detail}")]
    Batch { part: &'static str, detail: String },
    #[error("no gradient reached `{name}`")]
    NoGradient { name: String },
    #[error("the saved state's `{name}` {detail}: it belongs to another run")]
    State { name: String, detail: String },
    #[error("cannot write {path}")]
    Write { path: String, source: std::io::Error },
    #[error("the arithmetic of {stage} failed")]
    Tensor { stage: &'static str, source: candle_core::Error },
}

impl TrainError {
    /// For `map_err`.
    pub(super) fn tensor(stage: &'static str) -> impl Fn(candle_core::Error) -> Self {
        move |source| Self::Tensor { stage, source }
    }

    /// Stable CamelCase word for statuses and metrics.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::Load(e) => e.reason(),
            Self::Weights(e) => e.reason(),
            Self::Text(e) => e.reason(),
            Self::Embedding(e) => e.reason(),
            Self::Hypernetwork(e) => e.reason(),
            Self::Unsupported { .. } => "UnsupportedModel",
            Self::Option { .. } => "InvalidOption",
            Self::NoEncoder => "NoEncoder",
            Self::Batch { .. } => "InvalidBatch",
            Self::NoGradient { .. } => "NoGradient",
            Self::State { .. } => "StateOfOtherRun",
            Self::Write { .. } => "FileUnwritable",
            Self::Tensor { .. } => "TensorError",
        }
    }

    /// Only what the disk did may go away by itself.
    pub fn retriable(&self) -> bool {
        match self {
            Self::Load(e) => e.retriable(),
            Self::Weights(e) => e.retriable(),
            Self::Text(e) => e.retriable(),
            Self::Hypernetwork(e) => e.retriable(),
            Self::Write { .. } => true,
            Self::Embedding(_)
            | Self::Unsupported { .. }
            | Self::Option { .. }
            | Self::NoEncoder
            | Self::Batch { .. }
            | Self::NoGradient { .. }
            | Self::State { .. }
            | Self::Tensor { .. } => false,
        }
    }
}

impl From<LoadError> for TrainError {
    fn from(error: LoadError) -> Self {
        Self::Load(Box::new(error))
    }
}

impl From<WeightError> for TrainError {
    fn from(error: WeightError) -> Self {
        Self::Weights(Box::new(error))
    }
}

impl From<HypernetworkError> for TrainError {
    fn from(error: HypernetworkError) -> Self {
        Self::Hypernetwork(Box::new(error))
    }
}
