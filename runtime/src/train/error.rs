//! Why a training ends without its file.

use std::path::PathBuf;

use easel_diffusion::train::TrainError;
use easel_diffusion::train::data::DataError;
use easel_diffusion::train::run::RunError;
use easel_diffusion::{EncodeError, GenerateError, LoadError};
use easel_protocol::FailureReport;

use crate::error::chain;

/// What failed.
#[derive(Debug, thiserror::Error)]
pub enum TrainFailure {
    #[error("the base {} cannot be loaded", path.display())]
    Load { path: PathBuf, source: Box<LoadError> },
    #[error(transparent)]
    Train(Box<TrainError>),
    #[error(transparent)]
    Data(#[from] DataError),
    #[error(transparent)]
    Run(Box<RunError>),
    #[error("cannot draw the pictures of the class `{prompt}`")]
    ClassPicture { prompt: String, source: Box<GenerateError> },
    #[error("cannot encode {}", path.display())]
    Encode { path: PathBuf, source: EncodeError },
    #[error("cannot read {}", path.display())]
    Read { path: PathBuf, source: std::io::Error },
    #[error("cannot write {}", path.display())]
    Write { path: PathBuf, source: std::io::Error },
    #[error(
        "told to stop before the first step; the same training keeps pictures of the class that are drawn"
    )]
    Stopped,
}

impl TrainFailure {
    /// Stable CamelCase word for statuses and metrics.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::Load { source, .. } => source.reason(),
            Self::Train(error) => error.reason(),
            Self::Data(error) => error.reason(),
            Self::Run(error) => error.reason(),
            Self::ClassPicture { source, .. } => source.reason(),
            Self::Encode { source, .. } => source.reason(),
            Self::Read { .. } => "FileUnreadable",
            Self::Write { .. } => "OutputFailed",
            Self::Stopped => "Interrupted",
        }
    }

    /// Does trying again with the same plan make sense?
    pub fn retriable(&self) -> bool {
        match self {
            Self::Load { source, .. } => source.retriable(),
            Self::Train(error) => error.retriable(),
            Self::Data(error) => error.retriable(),
            Self::Run(error) => error.retriable(),
            Self::ClassPicture { source, .. } => source.retriable(),
            Self::Encode { source, .. } => source.retriable(),
            Self::Read { .. } | Self::Write { .. } | Self::Stopped => true,
        }
    }

    /// The failure with the chain of its causes.
    pub fn report(&self) -> FailureReport {
        FailureReport::new(self.reason(), chain(self), self.retriable())
    }
}

impl From<TrainError> for TrainFailure {
    fn from(error: TrainError) -> Self {
        Self::Train(Box::new(error))
    }
}

impl From<RunError> for TrainFailure {
    fn from(error: RunError) -> Self {
        Self::Run(Box::new(error))
    }
}
