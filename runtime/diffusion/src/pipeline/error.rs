//! Why a model cannot be loaded, and why a picture cannot be made.

use crate::config::ConfigError;
use crate::control::ControlError;
use crate::layout::FolderError;
use crate::raster::RasterError;
use crate::text::TextError;
use crate::weights::WeightError;

use super::progress::Stage;
use super::request::RequestError;
use super::variants::VariantError;

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
        "the {stage:?} stage of seed {seed} gave values that are not finite, though computed in f32: lower the guidance scale or the adapters' weights, or use another VAE or model"
    )]
    NotFinite { stage: Stage, seed: u64 },
    #[error(
        "the request needs about {} MiB of memory, {} MiB may be used: ask for smaller pictures or batches, or allow more",
        needed >> 20, available >> 20
    )]
    Memory { needed: u64, available: u64 },
    #[error(transparent)]
    Variant(#[from] VariantError),
    #[error(transparent)]
    Control(Box<ControlError>),
    #[error(transparent)]
    Raster(#[from] RasterError),
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
            Self::Memory { .. } => "NotEnoughMemory",
            Self::Variant(e) => e.reason(),
            Self::Control(e) => e.reason(),
            Self::Raster(e) => e.reason(),
            Self::Tensor { .. } => "TensorError",
        }
    }

    /// The same request with the same model fails the same way.
    pub fn retriable(&self) -> bool {
        match self {
            Self::Request(e) => e.retriable(),
            Self::Variant(e) => e.retriable(),
            Self::Control(e) => e.retriable(),
            Self::Raster(e) => e.retriable(),
            Self::Cancelled | Self::NotFinite { .. } | Self::Memory { .. } | Self::Tensor { .. } => false,
            Self::Text(e) => e.retriable(),
        }
    }
}

impl From<ControlError> for GenerateError {
    fn from(error: ControlError) -> Self {
        Self::Control(Box::new(error))
    }
}
