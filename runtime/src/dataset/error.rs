//! Why the pictures of a Dataset cannot be had.

use crate::facade::CallError;
use crate::fetch::FetchError;

#[derive(Debug, thiserror::Error)]
pub enum PicturesError {
    #[error("cannot get the list of pictures of the Dataset {dataset}")]
    List { dataset: String, source: CallError },
    #[error("the list of pictures of the Dataset {dataset} ends at {got} of {total}")]
    Incomplete { dataset: String, got: u64, total: u64 },
    #[error("the Dataset {dataset} has {total} pictures, the limit is {limit}; divide it into several")]
    TooMany { dataset: String, total: u64, limit: u64 },
    #[error("{item} of the Dataset {dataset}: the presigned address is not a URL")]
    BadUrl { dataset: String, item: String, source: url::ParseError },
    #[error("{item} of the Dataset {dataset} cannot be fetched")]
    Fetch { dataset: String, item: String, source: FetchError },
}

impl PicturesError {
    /// Stable CamelCase word.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::List { source, .. } => source.reason(),
            Self::Incomplete { .. } => "DatasetListIncomplete",
            Self::TooMany { .. } => "TooManyPictures",
            Self::BadUrl { .. } => "StoreReadFailed",
            Self::Fetch { source, .. } => match source.reason() {
                // The "source" of an import is where a user pointed; here it is the object store.
                word @ ("NoDiskSpace" | "DiskWriteFailed") => word,
                _ => "StoreReadFailed",
            },
        }
    }

    /// May it succeed later?
    pub fn retriable(&self) -> bool {
        match self {
            // 409: the Dataset cannot be read yet, or not any more.
            Self::List { source: CallError::Refused { .. }, .. } => true,
            Self::List { source: CallError::Rejected { status, .. }, .. } => status.as_u16() == 409,
            Self::List { source, .. } => source.retriable(),
            // Also a 403: the address has run out, the next one is good.
            Self::Incomplete { .. } | Self::BadUrl { .. } | Self::Fetch { .. } => true,
            Self::TooMany { .. } => false,
        }
    }
}
