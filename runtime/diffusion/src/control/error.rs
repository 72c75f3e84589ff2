//! Why a ControlNet cannot be loaded or used.

use crate::config::ConfigError;
use crate::layout::FolderError;
use crate::raster::RasterError;
use crate::weights::WeightError;

/// A file, or a request's unit, is refused.
#[derive(Debug, thiserror::Error)]
pub enum ControlError {
    #[error(transparent)]
    Weights(#[from] WeightError),
    #[error(transparent)]
    Folder(#[from] FolderError),
    #[error("the ControlNet in {path} has a shape that is not built")]
    Config { path: String, source: Box<ConfigError> },
    #[error("{path} is {found}, not a ControlNet: {remedy}")]
    WrongKind { path: String, found: String, remedy: &'static str },
    #[error(
        "`{tensor}` of the ControlNet is {actual:?}, the model has {expected:?} there: it is for {own}, the model is {wanted}; choose a ControlNet for {wanted}"
    )]
    Family {
        tensor: String,
        actual: Vec<usize>,
        expected: Vec<usize>,
        own: &'static str,
        wanted: &'static str,
    },
    #[error("ControlNet {unit}: its hint cannot be brought to {width}x{height}")]
    Hint { unit: usize, width: u32, height: u32, source: RasterError },
    #[error("a picture of {width}x{height} cannot be controlled: both sides must be multiples of 8")]
    Size { width: u32, height: u32 },
    #[error("ControlNet {unit}: {what} = {value} is out of range: it must be from {minimum} to {maximum}")]
    Range { unit: usize, what: &'static str, value: f32, minimum: f32, maximum: f32 },
    #[error("the request has {count} ControlNets, the limit is {limit}: send fewer")]
    TooMany { count: usize, limit: usize },
    #[error("the ControlNet's arithmetic failed")]
    Tensor { source: candle_core::Error },
}

impl ControlError {
    /// Stable CamelCase word for statuses and metrics.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::Weights(e) => e.reason(),
            Self::Folder(e) => e.reason(),
            Self::Config { source, .. } => source.reason(),
            Self::WrongKind { .. } => "NotAControlNet",
            Self::Family { .. } => "WrongFamily",
            Self::Hint { source, .. } => source.reason(),
            Self::Size { .. } => "InvalidSize",
            Self::Range { .. } => "ControlOutOfRange",
            Self::TooMany { .. } => "TooManyControlNets",
            Self::Tensor { .. } => "TensorError",
        }
    }

    /// Does trying again with the same file and request make sense?
    pub fn retriable(&self) -> bool {
        match self {
            Self::Weights(e) => e.retriable(),
            Self::Folder(e) => e.retriable(),
            Self::Config { source, .. } => source.retriable(),
            Self::Hint { source, .. } => source.retriable(),
            Self::WrongKind { .. }
            | Self::Family { .. }
            | Self::Size { .. }
            | Self::Range { .. }
            | Self::TooMany { .. }
            | Self::Tensor { .. } => false,
        }
    }
}
