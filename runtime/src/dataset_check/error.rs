//! Why a check ended without a result. What is wrong with a picture is a result.

use std::path::PathBuf;

use easel_protocol::FailureReport;

use crate::dataset::PicturesError;
use crate::facade::CallError;
use crate::upload::UploadError;

#[derive(Debug, thiserror::Error)]
pub enum CheckError {
    #[error("cannot set up the HTTP client")]
    Client { source: reqwest::Error },
    #[error(transparent)]
    Pictures(#[from] PicturesError),
    #[error("cannot use the working directory {}", .path.display())]
    WorkDirectory { path: PathBuf, source: std::io::Error },
    #[error("the report cannot be stored without the facade")]
    Facade { source: CallError },
    #[error(transparent)]
    Report(#[from] UploadError),
}

impl CheckError {
    /// Stable CamelCase word.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::Client { .. } => "HttpClientFailed",
            Self::Pictures(source) => source.reason(),
            Self::WorkDirectory { .. } => "WorkDirectoryUnusable",
            Self::Facade { source } => source.reason(),
            Self::Report(source) => source.reason(),
        }
    }

    /// May the same check succeed later?
    pub fn retriable(&self) -> bool {
        match self {
            Self::Client { .. } => false,
            Self::Pictures(source) => source.retriable(),
            Self::WorkDirectory { .. } => true,
            Self::Facade { source } => source.retriable(),
            Self::Report(source) => source.retriable(),
        }
    }

    /// What the termination message says.
    pub fn report(&self) -> FailureReport {
        FailureReport::new(self.reason(), crate::error::chain(self), self.retriable())
    }
}
