//! What can be wrong with the header of a weight file.

use super::pickle::PickleError;

/// Why a file is not (or not safely) a weight file. Nothing of its tensors was read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum HeaderError {
    #[error(
        "the file has {size} bytes; a safetensors file has at least 8: upload it again, the transfer was cut short"
    )]
    TooSmall { size: u64 },
    #[error("this is {found}, not safetensors: {remedy}")]
    Foreign { found: &'static str, remedy: &'static str },
    #[error(
        "the header claims {claimed} bytes, the limit is {limit}: the file is damaged or not safetensors"
    )]
    TooLarge { claimed: u64, limit: u64 },
    #[error(
        "the header claims {claimed} bytes, the file has {size}: the file is truncated or damaged; transfer it again"
    )]
    BeyondFile { claimed: u64, size: u64 },
    #[error("{have} bytes were given, the header needs the first {need} bytes of the file")]
    Incomplete { have: u64, need: u64 },
    #[error("the header is not the JSON of safetensors: {detail}")]
    Malformed { detail: String },
    #[error("the tensor `{name}` stands twice in the header")]
    Duplicate { name: String },
    #[error("`{name}` has the unknown element type `{dtype}`")]
    Dtype { name: String, dtype: String },
    #[error("`{name}`: the shape {shape:?} of {dtype} overflows the size of any file")]
    Overflow { name: String, shape: Vec<u64>, dtype: &'static str },
    #[error("`{name}`: {dtype} of shape {shape:?} needs {need} bytes, its offsets span {span}")]
    Length { name: String, shape: Vec<u64>, dtype: &'static str, need: u64, span: u64 },
    #[error(
        "`{name}`: its data ends at byte {end}, the file's data at {available}: the file is truncated; transfer it again"
    )]
    OutOfBounds { name: String, end: u64, available: u64 },
    #[error("`{name}`: its data begins at byte {begin}, after its end at {end}")]
    Reversed { name: String, begin: u64, end: u64 },
    #[error("the data of `{first}` and `{second}` overlap")]
    Overlap { first: String, second: String },
    #[error("{bytes} bytes before `{name}` belong to no tensor")]
    Hole { name: String, bytes: u64 },
    #[error("{bytes} bytes at the end of the file belong to no tensor")]
    Trailing { bytes: u64 },
    #[error("the header names {count} tensors, the limit is {limit}")]
    TooManyTensors { count: usize, limit: usize },
    #[error(transparent)]
    Pickle(#[from] PickleError),
}

impl HeaderError {
    /// Stable CamelCase word for statuses and metrics.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::TooSmall { .. } | Self::BeyondFile { .. } | Self::OutOfBounds { .. } => "TruncatedFile",
            Self::Foreign { .. } => "NotSafetensors",
            Self::TooLarge { .. } => "HeaderTooLarge",
            Self::Incomplete { .. } => "HeaderIncomplete",
            Self::Malformed { .. } | Self::Duplicate { .. } | Self::Dtype { .. } => "InvalidHeader",
            Self::Overflow { .. } | Self::Length { .. } => "InvalidTensorSize",
            Self::Reversed { .. } | Self::Overlap { .. } | Self::Hole { .. } | Self::Trailing { .. } => {
                "InvalidTensorOffsets"
            }
            Self::TooManyTensors { .. } => "TooManyTensors",
            Self::Pickle(e) => e.reason(),
        }
    }

    /// A header does not get better by reading it again, except with more of its bytes.
    pub fn retriable(&self) -> bool {
        match self {
            Self::Incomplete { .. } => true,
            Self::Pickle(e) => e.retriable(),
            Self::TooSmall { .. }
            | Self::Foreign { .. }
            | Self::TooLarge { .. }
            | Self::BeyondFile { .. }
            | Self::Malformed { .. }
            | Self::Duplicate { .. }
            | Self::Dtype { .. }
            | Self::Overflow { .. }
            | Self::Length { .. }
            | Self::OutOfBounds { .. }
            | Self::Reversed { .. }
            | Self::Overlap { .. }
            | Self::Hole { .. }
            | Self::Trailing { .. }
            | Self::TooManyTensors { .. } => false,
        }
    }
}
