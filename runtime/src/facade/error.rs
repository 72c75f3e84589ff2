//! How a call to the facade fails.

use std::path::PathBuf;

use easel_protocol::worker::Refusal;
use http::StatusCode;

#[derive(Debug, thiserror::Error)]
pub enum CallError {
    #[error("cannot read the worker's token in {}", .path.display())]
    Token { path: PathBuf, source: std::io::Error },
    #[error("{call}: the facade does not answer")]
    Unreachable { call: &'static str, source: reqwest::Error },
    #[error("{call}: the facade answered {status}: {message}")]
    Unavailable { call: &'static str, status: StatusCode, message: String },
    #[error("{call}: the facade's answer is not understood")]
    Malformed { call: &'static str, source: serde_json::Error },
    #[error("{call}: the facade refused ({}): {}", .refusal.reason, .refusal.message)]
    Refused { call: &'static str, refusal: Refusal },
    #[error("{call}: the facade answered {status}: {message}")]
    Rejected { call: &'static str, status: StatusCode, message: String },
}

impl CallError {
    /// Stable CamelCase word.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::Token { .. } => "TokenUnreadable",
            Self::Unreachable { .. } => "FacadeUnreachable",
            Self::Unavailable { .. } => "FacadeUnavailable",
            Self::Malformed { .. } => "FacadeAnswerMalformed",
            Self::Refused { .. } => "CallRefused",
            Self::Rejected { .. } => "CallRejected",
        }
    }

    /// May the same call succeed later?
    pub fn retriable(&self) -> bool {
        match self {
            Self::Token { .. }
            | Self::Unreachable { .. }
            | Self::Unavailable { .. }
            | Self::Malformed { .. } => true,
            Self::Refused { .. } | Self::Rejected { .. } => false,
        }
    }
}
