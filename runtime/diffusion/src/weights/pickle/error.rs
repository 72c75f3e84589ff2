//! Why a pickled checkpoint is not read.

/// Why a pickle or the archive around it is refused. Nothing in it was run.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PickleError {
    #[error(
        "the pickle uses the opcode {name} at byte {offset}, which no checkpoint of tensors needs: it may be malicious; use a safetensors file"
    )]
    Opcode { name: String, offset: usize },
    #[error(
        "the pickle asks for `{global}` at byte {offset}, which is not on the list of what builds tensors: it may be malicious; use a safetensors file"
    )]
    Global { global: String, offset: usize },
    #[error("the pickle uses `{global}` at byte {offset} in a way that no checkpoint does: {detail}")]
    Call { global: &'static str, offset: usize, detail: &'static str },
    #[error("the pickle breaks its own format at byte {offset}: {detail}")]
    Malformed { offset: usize, detail: &'static str },
    #[error("the file ends at byte {size} inside of the pickle: it is truncated; transfer it again")]
    Truncated { size: usize },
    #[error("the pickle has {value} {what}, the limit is {limit}")]
    Limit { what: &'static str, value: u64, limit: u64 },
    #[error("the zip archive is damaged: {detail}; transfer it again")]
    Archive { detail: String },
    #[error(
        "the archive's entry `{entry}` is compressed or encrypted; PyTorch stores entries as they are: save the model again with torch.save or use a safetensors file"
    )]
    Compressed { entry: String },
    #[error(
        "this zip archive is no PyTorch checkpoint: it has no `data.pkl`; unpack it and use the model in it"
    )]
    NotACheckpoint,
    #[error("the tensor `{name}` lies in the storage `{storage}`, which the file does not hold")]
    NoStorage { name: String, storage: String },
    #[error("`{name}`: {view} does not lie in its storage of {available} bytes")]
    OutOfStorage { name: String, view: String, available: u64 },
    #[error("the tensors' names make `{name}` twice")]
    Duplicate { name: String },
    #[error("the checkpoint was written on a big-endian machine: save it again on a little-endian one")]
    BigEndian,
}

impl PickleError {
    /// Stable CamelCase word for statuses and metrics.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::Opcode { .. } | Self::Global { .. } | Self::Call { .. } => "UnsafePickle",
            Self::Malformed { .. } | Self::Duplicate { .. } => "InvalidPickle",
            Self::Truncated { .. } => "TruncatedFile",
            Self::Limit { .. } => "PickleTooLarge",
            Self::Archive { .. } => "InvalidArchive",
            Self::Compressed { .. } | Self::NotACheckpoint | Self::BigEndian => "UnsupportedArchive",
            Self::NoStorage { .. } | Self::OutOfStorage { .. } => "InvalidTensorOffsets",
        }
    }

    /// A file does not get better by reading it again.
    pub fn retriable(&self) -> bool {
        match self {
            Self::Opcode { .. }
            | Self::Global { .. }
            | Self::Call { .. }
            | Self::Malformed { .. }
            | Self::Truncated { .. }
            | Self::Limit { .. }
            | Self::Archive { .. }
            | Self::Compressed { .. }
            | Self::NotACheckpoint
            | Self::NoStorage { .. }
            | Self::OutOfStorage { .. }
            | Self::Duplicate { .. }
            | Self::BigEndian => false,
        }
    }
}

/// A file's own words, cut to what a message may carry.
pub(super) fn clip(text: &[u8]) -> String {
    String::from_utf8_lossy(text).chars().filter(|c| !c.is_control()).take(120).collect()
}
