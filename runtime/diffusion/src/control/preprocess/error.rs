//! Why a hint cannot be prepared.

use crate::raster::RasterError;

/// A request for a preprocessor is refused.
#[derive(Debug, thiserror::Error)]
pub enum PreprocessError {
    #[error("preprocessor `{name}` is unknown: use one of {known}")]
    Unknown { name: String, known: String },
    #[error(
        "preprocessor `{name}` needs a network, which this engine does not run: send its finished picture with preprocessor `none`, or use one of {known}"
    )]
    NeedsNetwork { name: String, known: String },
    #[error(
        "preprocessor `{preprocessor}`: {parameter} = {value} is out of range: it must be from {minimum} to {maximum}"
    )]
    Parameter { preprocessor: &'static str, parameter: &'static str, value: f32, minimum: f32, maximum: f32 },
    #[error("preprocessor `{preprocessor}` needs a mask: send one of the picture's size")]
    NoMask { preprocessor: &'static str },
    #[error("preprocessor `{preprocessor}` cannot use the picture")]
    Picture { preprocessor: &'static str, source: RasterError },
}

impl PreprocessError {
    /// Stable CamelCase word for statuses and metrics.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::Unknown { .. } => "UnknownPreprocessor",
            Self::NeedsNetwork { .. } => "PreprocessorNeedsNetwork",
            Self::Parameter { .. } => "PreprocessorParameterOutOfRange",
            Self::NoMask { .. } => "NoMask",
            Self::Picture { source, .. } => source.reason(),
        }
    }

    /// The same request fails the same way.
    pub fn retriable(&self) -> bool {
        match self {
            Self::Unknown { .. }
            | Self::NeedsNetwork { .. }
            | Self::Parameter { .. }
            | Self::NoMask { .. } => false,
            Self::Picture { source, .. } => source.retriable(),
        }
    }
}
