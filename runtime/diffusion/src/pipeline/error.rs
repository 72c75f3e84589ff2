//! Why a model cannot be loaded, and why a picture cannot be made.

use crate::config::ConfigError;
use crate::layout::FolderError;
use crate::text::TextError;
use crate::weights::WeightError;

use super::progress::Stage;
use super::request::RequestError;

/// Why a model is not loaded.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    #[error(transparent)]
    Weights(#[from] WeightError),
    #[error(transparent)]
    Folder(#[from] FolderError),
    #[error(transparent)]
    Config(#[from] ConfigError),
    #[error("{path} is {found}: {remedy}")]
    Unsupported { path: String, found: String, remedy: &'static str },
}

impl LoadError {
    /// Stable CamelCase word for statuses and metrics.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::Weights(e) => e.reason(),
            Self::Folder(e) => e.reason(),
            Self::Config(e) => e.reason(),
            Self::Unsupported { .. } => "UnsupportedModel",
        }
    }

    /// Does trying again with the same files make sense?
    pub fn retriable(&self) -> bool {
        match self {
            Self::Weights(e) => e.retriable(),
            Self::Folder(e) => e.retriable(),
            Self::Config(e) => e.retriable(),
            Self::Unsupported { .. } => false,
        }
    }
}

/// Why no picture came out.
#[derive(Debug, thiserror::Error)]
pub enum GenerateError {
    #[error(transparent)]
    Request(#[from] RequestError),
    #[error(transparent)]
    Text(#[from] TextError),
    #[error("the generation was cancelled")]
    Cancelled,
    #[error(
        "the {stage:?} stage of seed {seed} gave values that are not finite: the model is damaged, or the guidance scale too high"
    )]
    NotFinite { stage: Stage, seed: u64 },
    #[error("the arithmetic of the {stage:?} stage failed")]
    Tensor { stage: Stage, source: candle_core::Error },
}

impl GenerateError {
    /// Stable CamelCase word for statuses and metrics.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::Request(e) => e.reason(),
            Self::Text(e) => e.reason(),
            Self::Cancelled => "Cancelled",
            Self::NotFinite { .. } => "NotFinite",
            Self::Tensor { .. } => "TensorError",
        }
    }

    /// The same request with the same model fails the same way.
    pub fn retriable(&self) -> bool {
        match self {
            Self::Request(e) => e.retriable(),
            Self::Text(e) => e.retriable(),
            Self::Cancelled | Self::NotFinite { .. } | Self::Tensor { .. } => false,
        }
    }
}
