//! Why an origin gave no files.

use std::path::PathBuf;

use crate::fetch::FetchError;
use crate::net::RedactedUrl;

#[derive(Debug, thiserror::Error)]
pub enum OriginError {
    #[error("{what} cannot be asked for its files")]
    Ask { what: String, source: FetchError },
    #[error("{what}: the answer about its files is not understood: {detail}")]
    Answer { what: String, detail: String },
    #[error("{what} is not found at {endpoint}; correct {field}, or set its tokenSecretRef if it is private")]
    NotFound { what: String, endpoint: RedactedUrl, field: &'static str },
    #[error("{what} has no revision \"{revision}\"; correct spec.source.huggingFace.revision")]
    NoRevision { what: String, revision: String },
    #[error(
        "{what} is only for those who were let in (the server answered {status}); accept its licence on its page, \
         then name a Secret with a token of that account in tokenSecretRef"
    )]
    Gated { what: String, status: u16 },
    #[error("{what}: the token cannot be sent as a header; correct the Secret of tokenSecretRef")]
    BadToken { what: String },
    #[error("{what} has none of the files asked for; there are {found}")]
    NothingMatches { what: String, found: String },
    #[error("{what} has several weight files and nothing tells which is meant; name one of them: {found}")]
    Ambiguous { what: String, found: String },
    #[error("{what} has {found} files, at most {limit} are imported; name fewer")]
    TooManyFiles { what: String, found: usize, limit: usize },
    #[error("the volume has no {path}")]
    NotOnVolume { path: PathBuf },
    #[error("{path} leads out of the volume, or is neither file nor folder")]
    OutsideVolume { path: PathBuf },
    #[error("{path} on the volume has {size} bytes, the limit is {limit}")]
    TooLarge { path: PathBuf, size: u64, limit: u64 },
    #[error("{path} on the volume needs {need} bytes, the working directory has {free} free")]
    NoRoom { path: PathBuf, need: u64, free: u64 },
    #[error("{path} on the volume cannot be read")]
    Volume { path: PathBuf, source: std::io::Error },
}

impl OriginError {
    /// Stable CamelCase word for statuses.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::Ask { source, .. } => source.reason(),
            Self::Answer { .. } => "SourceAnswerInvalid",
            Self::NotFound { .. } | Self::NotOnVolume { .. } => "SourceNotFound",
            Self::NoRevision { .. } => "RevisionNotFound",
            Self::Gated { .. } => "SourceForbidden",
            Self::BadToken { .. } => "InvalidToken",
            Self::NothingMatches { .. } => "NoFiles",
            Self::Ambiguous { .. } => "AmbiguousFiles",
            Self::TooManyFiles { .. } => "TooManyFiles",
            Self::OutsideVolume { .. } => "PathRefused",
            Self::TooLarge { .. } => "FileTooLarge",
            Self::NoRoom { .. } => "NoDiskSpace",
            Self::Volume { .. } => "VolumeUnreadable",
        }
    }

    /// May the same spec succeed later?
    pub fn retriable(&self) -> bool {
        match self {
            Self::Ask { source, .. } => source.retriable(),
            Self::Volume { .. } | Self::NoRoom { .. } => true,
            Self::Answer { .. }
            | Self::NotFound { .. }
            | Self::NoRevision { .. }
            | Self::Gated { .. }
            | Self::BadToken { .. }
            | Self::NothingMatches { .. }
            | Self::Ambiguous { .. }
            | Self::TooManyFiles { .. }
            | Self::NotOnVolume { .. }
            | Self::TooLarge { .. }
            | Self::OutsideVolume { .. } => false,
        }
    }
}
