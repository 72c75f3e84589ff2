//! Why a file is no usable adapter, or not one for this model.

use crate::inspect::{Family, Kind};
use crate::weights::WeightError;

/// Why an adapter is refused.
#[derive(Debug, thiserror::Error)]
pub enum AdapterError {
    #[error(transparent)]
    Weights(Box<WeightError>),
    #[error(
        "{path} is of kind {kind}, not an adapter: it has no LoRA, LoHa, LoKr, IA3 or difference tensors"
    )]
    NotAnAdapter { path: String, kind: Kind },
    #[error(
        "`{tensor}` belongs to {method}, which is not computed here: use LoRA, LoCon, LoHa, LoKr, DoRA, IA3 or full differences"
    )]
    Method { tensor: String, method: &'static str },
    #[error("`{module}` has no {missing}: the file is incomplete")]
    Incomplete { module: String, missing: &'static str },
    #[error(
        "`{tensor}` is {shape:?}, which does not go with `{other}` of {other_shape:?}: the file is damaged"
    )]
    Inconsistent { tensor: String, shape: Vec<usize>, other: String, other_shape: Vec<usize> },
    #[error("`{tensor}` is {shape:?}; {expected}: the file is damaged")]
    Shape { tensor: String, shape: Vec<usize>, expected: &'static str },
    #[error(
        "`{tensor}` is {value}; a number that weights can be multiplied by is needed: the file is damaged"
    )]
    Number { tensor: String, value: f64 },
    #[error("`{tensor}` is of rank {rank}, the limit is {limit}")]
    Rank { tensor: String, rank: usize, limit: usize },
    #[error("{path} holds {elements} numbers, the limit for an adapter is {limit}: is it a whole model?")]
    TooLarge { path: String, elements: u64, limit: u64 },
    #[error(transparent)]
    OtherModel(#[from] Box<Misfit>),
    #[error("`{tensor}` is for a second text encoder, which this model has not: {}", remedy(.family))]
    NoNetwork { tensor: String, family: Family },
    #[error("none of the {count} modules of {path} is in this model, `{example}` for one: {}", remedy(.family))]
    NothingFits { path: String, count: usize, example: String, family: Family },
    #[error("`{tensor}` cannot be computed")]
    Tensor { tensor: String, source: candle_core::Error },
}

/// An adapter's tensor that does not go with the model's.
#[derive(Debug, thiserror::Error)]
#[error(
    "`{tensor}` ({shape:?}) makes {found} {side}, this model's `{target}` ({target_shape:?}) has {expected}: {}",
    remedy(.family)
)]
pub struct Misfit {
    pub tensor: String,
    pub shape: Vec<usize>,
    /// What is counted.
    pub side: &'static str,
    pub found: usize,
    pub expected: usize,
    pub target: String,
    pub target_shape: Vec<usize>,
    /// Of the adapter, by its shapes.
    pub family: Family,
}

/// What to do with an adapter of this family.
fn remedy(family: &Family) -> &'static str {
    match family {
        Family::Sd1 => "an adapter for SD 1.x; use it with an SD 1.x checkpoint",
        Family::Sd2 => "an adapter for SD 2.x; use it with an SD 2.x checkpoint",
        Family::Sdxl => "an adapter for SDXL; use it with an SDXL checkpoint",
        Family::SdxlRefiner => "an adapter for the SDXL refiner; use it with a refiner checkpoint",
        Family::Unknown => "an adapter for a model of another shape; use it with the model it was trained on",
    }
}

impl From<WeightError> for AdapterError {
    fn from(error: WeightError) -> Self {
        Self::Weights(Box::new(error))
    }
}

impl AdapterError {
    /// Stable CamelCase word for statuses and metrics.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::Weights(e) => e.reason(),
            Self::NotAnAdapter { .. } => "NotAnAdapter",
            Self::Method { .. } => "UnsupportedAdapter",
            Self::Incomplete { .. } => "MissingTensor",
            Self::Inconsistent { .. } | Self::Shape { .. } | Self::Number { .. } => "DamagedAdapter",
            Self::Rank { .. } | Self::TooLarge { .. } => "AdapterTooLarge",
            Self::OtherModel(_) | Self::NoNetwork { .. } | Self::NothingFits { .. } => "AdapterOfOtherModel",
            Self::Tensor { .. } => "TensorError",
        }
    }

    /// Only what the disk did may go away by itself.
    pub fn retriable(&self) -> bool {
        match self {
            Self::Weights(e) => e.retriable(),
            Self::NotAnAdapter { .. }
            | Self::Method { .. }
            | Self::Incomplete { .. }
            | Self::Inconsistent { .. }
            | Self::Shape { .. }
            | Self::Number { .. }
            | Self::Rank { .. }
            | Self::TooLarge { .. }
            | Self::OtherModel(_)
            | Self::NoNetwork { .. }
            | Self::NothingFits { .. }
            | Self::Tensor { .. } => false,
        }
    }
}
