//! Why checkpoints are not merged.

use crate::weights::{WeightError, WriteError};

/// Why a merge is refused or failed. Nothing was written under the output's name.
#[derive(Debug, thiserror::Error)]
pub enum MergeError {
    #[error("adding a difference needs a third model, which is subtracted from the second")]
    NeedsThird,
    #[error("the third model, {name}, is of no use to this method: leave it out or add the difference")]
    UnusedThird { name: String },
    #[error("{what} is {value}; this method takes {low} to {high}")]
    Weight { what: String, value: f64, low: f64, high: f64 },
    #[error(
        "{given} block weights were given; this model has {blocks} blocks: give {blocks}, or {} with BASE first",
        .blocks + 1
    )]
    BlockWeights { given: usize, blocks: usize },
    #[error("the sha256 of {name} is not 64 hexadecimal digits")]
    Hash { name: String },
    #[error(transparent)]
    Weights(Box<WeightError>),
    #[error(
        "{name} has no tensor `model.diffusion_model.…`: only single-file checkpoints can be merged; is it a folder's part or an adapter?"
    )]
    NotACheckpoint { name: String },
    #[error(
        "{name} has no autoencoder in the layout of single files (`first_stage_model.…` or `decoder.conv_in.…`)"
    )]
    NotAVae { name: String },
    #[error("`{tensor}` is in {present} and not in {missing}: they are models of different families")]
    Structure { tensor: String, present: String, missing: String },
    #[error(
        "`{tensor}` is {left_shape:?} in {left} and {right_shape:?} in {right}: they are models of different families"
    )]
    Shape { tensor: String, left: String, left_shape: Vec<usize>, right: String, right_shape: Vec<usize> },
    #[error("{b} is an inpainting or instruct-pix2pix model and {a} is not: make {b} the first model")]
    WrongOrder { a: String, b: String },
    #[error(
        "`{tensor}` of {name} has element type {dtype}; weights to merge must be F32, F16, BF16 or F64: convert them first"
    )]
    Dtype { tensor: String, name: String, dtype: &'static str },
    #[error(
        "`{tensor}` would hold {value} at element {index}: a source is damaged, or the result does not fit into {dtype}; try another precision or weight"
    )]
    NotFinite { tensor: String, index: u64, value: f32, dtype: &'static str },
    #[error("cannot read {name}")]
    Read { name: String, source: std::io::Error },
    #[error(transparent)]
    Write(#[from] WriteError),
    #[error("the merge was stopped")]
    Stopped,
}

impl From<WeightError> for MergeError {
    fn from(error: WeightError) -> Self {
        Self::Weights(Box::new(error))
    }
}

impl MergeError {
    /// Stable CamelCase word for statuses and metrics.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::NeedsThird => "MergeNeedsThirdModel",
            Self::UnusedThird { .. } => "MergeThirdModelUnused",
            Self::Weight { .. } => "InvalidMergeWeight",
            Self::BlockWeights { .. } => "InvalidBlockWeights",
            Self::Hash { .. } => "InvalidSha256",
            Self::Weights(e) => e.reason(),
            Self::NotACheckpoint { .. } => "NotACheckpoint",
            Self::NotAVae { .. } => "NotAVae",
            Self::Structure { .. } | Self::Shape { .. } => "MergeOfDifferentModels",
            Self::WrongOrder { .. } => "MergeOrder",
            Self::Dtype { .. } => "UnsupportedDtype",
            Self::NotFinite { .. } => "NotFiniteWeights",
            Self::Read { .. } => "FileUnreadable",
            Self::Write(e) => e.reason(),
            Self::Stopped => "Interrupted",
        }
    }

    /// Only what the disk did, or who stopped it, may go away by itself.
    pub fn retriable(&self) -> bool {
        match self {
            Self::Weights(e) => e.retriable(),
            Self::Write(e) => e.retriable(),
            Self::Read { .. } | Self::Stopped => true,
            Self::NeedsThird
            | Self::UnusedThird { .. }
            | Self::Weight { .. }
            | Self::BlockWeights { .. }
            | Self::Hash { .. }
            | Self::NotACheckpoint { .. }
            | Self::NotAVae { .. }
            | Self::Structure { .. }
            | Self::Shape { .. }
            | Self::WrongOrder { .. }
            | Self::Dtype { .. }
            | Self::NotFinite { .. } => false,
        }
    }
}
