//! Why a weight file is not in the cache.

use std::path::PathBuf;

use crate::fetch::FetchError;

#[derive(Debug, thiserror::Error)]
pub enum CacheError {
    #[error("\"{sha256}\" is not a sha256")]
    BadHash { sha256: String },
    #[error("model {model} calls a file \"{name}\", which is no plain relative path; import it anew")]
    BadName { model: String, name: String },
    #[error("the presigned address is not a URL")]
    BadUrl { source: url::ParseError },
    #[error("the transfer failed")]
    Fetch { source: FetchError },
    #[error(
        "a file of {need} bytes is larger than the cache limit of {limit} bytes; raise the endpoint's cache size"
    )]
    LargerThanCache { need: u64, limit: u64 },
    #[error(
        "{need} bytes do not fit: {in_use} of {limit} bytes of the cache are in use; raise the endpoint's cache size"
    )]
    Full { need: u64, in_use: u64, limit: u64 },
    #[error("cannot use the cache directory {}", .path.display())]
    Directory { path: PathBuf, source: std::io::Error },
    #[error("the transfer has sha256 {actual}, twice; the Model says {expected}: the stored file is damaged")]
    Corrupt { expected: String, actual: String },
}

impl CacheError {
    /// Stable CamelCase word.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::BadHash { .. } | Self::BadName { .. } | Self::BadUrl { .. } => "BadModelFile",
            Self::Fetch { source } => match source.reason() {
                // The "source" of an import is where a user pointed; here it is Easel's own store.
                "NoDiskSpace" | "DiskWriteFailed" => source.reason(),
                _ => "ModelDownloadFailed",
            },
            Self::LargerThanCache { .. } | Self::Full { .. } => "CacheTooSmall",
            Self::Directory { .. } => "CacheUnusable",
            Self::Corrupt { .. } => "ChecksumMismatch",
        }
    }

    /// May the same file come through later, with a fresh address?
    pub fn retriable(&self) -> bool {
        match self {
            // Also a 403 or 404: the presigned address has run out, the next one is good.
            Self::Fetch { .. } | Self::Full { .. } | Self::Directory { .. } => true,
            Self::BadHash { .. }
            | Self::BadName { .. }
            | Self::BadUrl { .. }
            | Self::LargerThanCache { .. }
            | Self::Corrupt { .. } => false,
        }
    }
}
