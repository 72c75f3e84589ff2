//! Why a file or folder cannot be inspected.

use crate::layout::FolderError;
use crate::weights::{HeaderError, WeightError};

/// Why nothing can be said about a file.
#[derive(Debug, thiserror::Error)]
pub enum InspectError {
    #[error(transparent)]
    Header(#[from] HeaderError),
    #[error(transparent)]
    Weights(#[from] WeightError),
    #[error(transparent)]
    Folder(#[from] FolderError),
}

impl InspectError {
    /// Stable CamelCase word for statuses and metrics.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::Header(e) => e.reason(),
            Self::Weights(e) => e.reason(),
            Self::Folder(e) => e.reason(),
        }
    }

    /// Does trying again with the same file make sense?
    pub fn retriable(&self) -> bool {
        match self {
            Self::Header(e) => e.retriable(),
            Self::Weights(e) => e.retriable(),
            Self::Folder(e) => e.retriable(),
        }
    }
}
