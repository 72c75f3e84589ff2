//! Why bytes did not reach the object store.

/// `what`: e.g. `part 3 of model.safetensors`.
#[derive(Debug, thiserror::Error)]
pub enum UploadError {
    #[error("cannot send {what} to the object store")]
    Send { what: String, source: reqwest::Error },
    #[error("cannot send {what}: the object store answered {status}")]
    Refused { what: String, status: http::StatusCode },
    #[error("the object store gave no ETag for {what}")]
    NoEtag { what: String },
    #[error("the plan for {file} has {parts} parts of {part_size} bytes, the file has {size_bytes} bytes")]
    BadPlan { file: String, parts: usize, part_size: u64, size_bytes: u64 },
    #[error("cannot read {what} in the working directory")]
    Read { what: String, source: std::io::Error },
}

impl UploadError {
    /// Stable CamelCase word.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::Send { .. } | Self::Refused { .. } | Self::NoEtag { .. } => "StoreFailed",
            Self::BadPlan { .. } => "StorePlanInvalid",
            Self::Read { .. } => "WorkDirectoryUnusable",
        }
    }

    /// May it succeed with a new plan? A 4xx too: addresses run out.
    pub fn retriable(&self) -> bool {
        match self {
            Self::Send { .. }
            | Self::Refused { .. }
            | Self::NoEtag { .. }
            | Self::BadPlan { .. }
            | Self::Read { .. } => true,
        }
    }

    /// May it succeed at the same address?
    pub(super) fn passing(&self) -> bool {
        match self {
            Self::Refused { status, .. } => {
                status.is_server_error() || matches!(status.as_u16(), 408 | 425 | 429)
            }
            Self::Send { .. } | Self::NoEtag { .. } => true,
            Self::BadPlan { .. } | Self::Read { .. } => false,
        }
    }
}
