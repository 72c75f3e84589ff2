//! What can go wrong with the object store.

type Source = Box<dyn std::error::Error + Send + Sync>;

/// A call to the object store failed.
#[derive(Debug, thiserror::Error)]
pub enum ObjectError {
    #[error("there is no object {key}")]
    NotFound { key: String },
    #[error("the upload {upload_id} of {key} is not open: it was completed, aborted or never begun")]
    NoSuchUpload { key: String, upload_id: String },
    #[error("the upload of {key} cannot be completed with these parts: {message}")]
    InvalidPart { key: String, message: String },
    #[error("the object store has no bucket {bucket}")]
    NoBucket { bucket: String },
    #[error("the object store refuses our credentials ({code}) when asked to {what}")]
    Denied { what: &'static str, code: String },
    #[error("the object store answered {code} (status {status}) when asked to {what} {key}")]
    Service { what: &'static str, key: String, code: String, status: u16, source: Source },
    #[error("the object store could not be reached to {what} {key}")]
    Unreachable { what: &'static str, key: String, source: Source },
    #[error("reading {key} broke off")]
    Read { key: String, source: Source },
    #[error("{key} has {size} bytes; {limit} are allowed here")]
    TooLarge { key: String, size: u64, limit: u64 },
    #[error("{what} is not usable: {problem}")]
    Invalid { what: &'static str, problem: String },
}

impl ObjectError {
    /// Does trying again make sense?
    pub fn retriable(&self) -> bool {
        match self {
            Self::Service { status, .. } => *status >= 500 || *status == 429,
            Self::Unreachable { .. } | Self::Read { .. } => true,
            Self::NotFound { .. }
            | Self::NoSuchUpload { .. }
            | Self::InvalidPart { .. }
            | Self::NoBucket { .. }
            | Self::Denied { .. }
            | Self::TooLarge { .. }
            | Self::Invalid { .. } => false,
        }
    }

    /// Stable word; API.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::NotFound { .. } => "ObjectNotFound",
            Self::NoSuchUpload { .. } => "NoSuchUpload",
            Self::InvalidPart { .. } => "InvalidPart",
            Self::NoBucket { .. } => "NoSuchBucket",
            Self::Denied { .. } => "ObjectStoreDenied",
            Self::Service { .. } => "ObjectStoreFailed",
            Self::Unreachable { .. } => "ObjectStoreUnreachable",
            Self::Read { .. } => "ObjectReadFailed",
            Self::TooLarge { .. } => "ObjectTooLarge",
            Self::Invalid { .. } => "InvalidObjectRequest",
        }
    }
}
