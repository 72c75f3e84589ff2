//! What can go wrong between a URL and a file.

use std::path::PathBuf;
use std::time::Duration;

use crate::net::{GuardError, RedactedUrl};

#[derive(Debug, thiserror::Error)]
pub enum FetchError {
    #[error(transparent)]
    Refused(#[from] GuardError),
    #[error("{url}: no answer")]
    Connect { url: RedactedUrl, source: reqwest::Error },
    #[error("{url}: the server answered {status}")]
    Status { url: RedactedUrl, status: http::StatusCode },
    #[error("{url}: the server sent no byte for {} s, after {received} bytes", .silence.as_secs_f64())]
    Stalled { url: RedactedUrl, silence: Duration, received: u64 },
    #[error("{url}: the connection broke at byte {received}")]
    Broken { url: RedactedUrl, received: u64, source: reqwest::Error },
    #[error("{url}: the transfer ended at byte {received} of {expected}")]
    Truncated { url: RedactedUrl, received: u64, expected: u64 },
    #[error("{url}: asked to continue at byte {asked}, the server continued elsewhere")]
    WrongRange { url: RedactedUrl, asked: u64 },
    #[error("{url}: the file at the server became another one while it was transferred")]
    Changed { url: RedactedUrl },
    #[error("{url}: the file has {size} bytes, the limit is {limit}")]
    TooLarge { url: RedactedUrl, size: u64, limit: u64 },
    #[error("{url}: the file needs {need} bytes, the working directory has {free} free")]
    NoRoom { url: RedactedUrl, need: u64, free: u64 },
    #[error("cannot write {path}")]
    Write { path: PathBuf, source: std::io::Error },
}

impl FetchError {
    /// Stable CamelCase word for statuses.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::Refused(refusal) => refusal.reason(),
            Self::Connect { .. } => "SourceUnreachable",
            Self::Status { status, .. } => match status.as_u16() {
                404 | 410 => "SourceNotFound",
                401 | 403 => "SourceForbidden",
                400..=499 => "SourceRefused",
                _ => "SourceUnavailable",
            },
            Self::Stalled { .. } => "SourceStalled",
            Self::Broken { .. } | Self::Truncated { .. } => "SourceTruncated",
            Self::WrongRange { .. } => "SourceRangeWrong",
            Self::Changed { .. } => "SourceChanged",
            Self::TooLarge { .. } => "FileTooLarge",
            Self::NoRoom { .. } => "NoDiskSpace",
            Self::Write { .. } => "DiskWriteFailed",
        }
    }

    /// Does trying again with the same URL make sense?
    pub fn retriable(&self) -> bool {
        match self {
            Self::Connect { .. }
            | Self::Stalled { .. }
            | Self::Broken { .. }
            | Self::Truncated { .. }
            | Self::WrongRange { .. }
            | Self::Changed { .. }
            | Self::NoRoom { .. }
            | Self::Write { .. } => true,
            Self::Status { status, .. } => {
                // Time-out, too early, too many requests; the other 4xx blame the request.
                status.is_server_error() || matches!(status.as_u16(), 408 | 425 | 429)
            }
            Self::Refused(_) | Self::TooLarge { .. } => false,
        }
    }

    /// Is the way of the bytes at fault, so that this process should ask again at once?
    pub(super) fn in_transit(&self) -> bool {
        match self {
            // What changed is not mended by asking for the rest of it: the transfer starts anew.
            Self::NoRoom { .. } | Self::Write { .. } | Self::Changed { .. } => false,
            other => other.retriable(),
        }
    }
}

#[cfg(test)]
mod tests {
    use url::Url;

    use super::*;

    #[test]
    fn statuses_that_blame_the_request_are_permanent() {
        let url = RedactedUrl::from(&Url::parse("https://example.com/m").unwrap());
        for (status, reason, retriable) in [
            (401, "SourceForbidden", false),
            (403, "SourceForbidden", false),
            (404, "SourceNotFound", false),
            (410, "SourceNotFound", false),
            (416, "SourceRefused", false),
            (429, "SourceRefused", true),
            (500, "SourceUnavailable", true),
            (503, "SourceUnavailable", true),
            (304, "SourceUnavailable", false),
        ] {
            let status = http::StatusCode::from_u16(status).unwrap();
            let error = FetchError::Status { url: url.clone(), status };
            assert_eq!((error.reason(), error.retriable()), (reason, retriable), "{status}");
        }
    }
}
