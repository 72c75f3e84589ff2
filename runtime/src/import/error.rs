//! Why an import failed.

use easel_diffusion::InspectError;
use easel_diffusion::merge::MergeError;
use easel_diffusion::weights::ConvertError;
use easel_protocol::FailureReport;
use easel_protocol::import::ResultTooLarge;

use super::origins::OriginError;
use super::unpack::UnpackError;
use crate::facade::CallError;
use crate::fetch::FetchError;
use crate::upload::UploadError;

#[derive(Debug, thiserror::Error)]
pub enum ImportError {
    #[error("the facade has nothing to import for this Job")]
    NothingToImport { source: CallError },
    #[error("the import cannot go on without the facade")]
    Facade { source: CallError },
    #[error("the Model names no files")]
    NoFiles,
    #[error("{file}: the address is not a URL")]
    BadUrl { file: String, source: url::ParseError },
    #[error("{file}: the header \"{name}\" cannot be sent")]
    BadHeader { file: String, name: String },
    #[error(transparent)]
    Origin(#[from] OriginError),
    #[error("cannot set up the HTTP client")]
    Client { source: reqwest::Error },
    #[error("{file} cannot be fetched")]
    Fetch { file: String, source: FetchError },
    #[error("{file} cannot be read from the object store")]
    ReadStored { file: String, source: FetchError },
    #[error("{file}: sha256 is {actual}, the Model asks for {expected}")]
    Checksum { file: String, expected: String, actual: String },
    #[error("{file} is not usable")]
    Inspect { file: String, source: Box<InspectError> },
    #[error("{file} cannot be unpacked")]
    Unpack { file: String, source: UnpackError },
    #[error("{file} is a pickle that cannot be rewritten as safetensors")]
    Convert { file: String, source: Box<ConvertError> },
    #[error("the Model has two files of the name {name}")]
    TwoOfAName { name: String },
    #[error("the Model has {found} files, at most {limit} are imported; name fewer")]
    TooManyFiles { found: usize, limit: usize },
    #[error("{name} cannot be merged")]
    Merge { name: String, source: Box<MergeError> },
    #[error("{name} cannot be merged: the merge stopped")]
    MergePanicked { name: String, source: tokio::task::JoinError },
    #[error("{file} cannot be read: the reader stopped")]
    InspectorPanicked { file: String, source: tokio::task::JoinError },
    #[error("{file}: the Model says type {wanted}, the file is {found}; set spec.type or the source right")]
    WrongType { file: String, wanted: String, found: String },
    #[error("{file} is a checkpoint of a family that is not known; known are SD 1.x, SD 2.x and SDXL")]
    UnknownFamily { file: String },
    #[error(transparent)]
    Upload(#[from] UploadError),
    #[error("cannot use the working directory for {file}")]
    WorkDirectory { file: String, source: std::io::Error },
    #[error(transparent)]
    ResultTooLarge(#[from] ResultTooLarge),
}

impl ImportError {
    /// Stable CamelCase word.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::NothingToImport { .. } => "NothingToImport",
            Self::Facade { source } => source.reason(),
            Self::NoFiles => "NoFiles",
            Self::BadUrl { .. } => "InvalidUrl",
            Self::BadHeader { .. } => "InvalidHeaders",
            Self::Origin(source) => source.reason(),
            Self::Client { .. } => "HttpClientFailed",
            Self::Fetch { source, .. } => source.reason(),
            Self::ReadStored { source, .. } => match source.reason() {
                "SourceNotFound" => "ObjectNotFound",
                "FileTooLarge" => "FileTooLarge",
                _ => "StoreReadFailed",
            },
            Self::Checksum { .. } => "ChecksumMismatch",
            Self::Inspect { source, .. } => source.reason(),
            Self::Unpack { source, .. } => source.reason(),
            Self::Convert { source, .. } => source.reason(),
            Self::TwoOfAName { .. } => "AmbiguousFiles",
            Self::TooManyFiles { .. } => "TooManyFiles",
            Self::InspectorPanicked { .. } => "InspectorPanicked",
            Self::Merge { source, .. } => source.reason(),
            Self::MergePanicked { .. } => "MergePanicked",
            Self::WrongType { .. } => "WrongModelType",
            Self::UnknownFamily { .. } => "UnknownFamily",
            Self::Upload(source) => source.reason(),
            Self::WorkDirectory { .. } => "WorkDirectoryUnusable",
            Self::ResultTooLarge(_) => "ResultTooLarge",
        }
    }

    /// May the same import succeed later?
    pub fn retriable(&self) -> bool {
        match self {
            Self::NothingToImport { .. } | Self::WorkDirectory { .. } => true,
            Self::Facade { source } => source.retriable(),
            Self::Upload(source) => source.retriable(),
            Self::Origin(source) => source.retriable(),
            Self::Fetch { source, .. } => source.retriable(),
            // A 403 is an address of ours that ran out; the next try gets a fresh one.
            Self::ReadStored { .. } => self.reason() == "StoreReadFailed",
            Self::Inspect { source, .. } => source.retriable(),
            Self::Merge { source, .. } => source.retriable(),
            Self::Unpack { source, .. } => source.retriable(),
            Self::Convert { source, .. } => source.retriable(),
            Self::NoFiles
            | Self::TwoOfAName { .. }
            | Self::TooManyFiles { .. }
            | Self::BadUrl { .. }
            | Self::BadHeader { .. }
            | Self::Client { .. }
            | Self::Checksum { .. }
            | Self::InspectorPanicked { .. }
            | Self::MergePanicked { .. }
            | Self::WrongType { .. }
            | Self::UnknownFamily { .. }
            | Self::ResultTooLarge(_) => false,
        }
    }

    /// What the termination message says.
    pub fn report(&self) -> FailureReport {
        FailureReport::new(self.reason(), crate::error::chain(self), self.retriable())
    }
}
