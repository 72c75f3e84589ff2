//! Reading a module's tensors by relative name, with shapes checked.

use std::sync::Arc;

use candle_core::Tensor;

use super::build::BuildOptions;
use super::error::HeaderError;
use super::side::SidePath;
use super::store::Weights;

/// Why a tensor, or the file it should be in, cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum WeightError {
    #[error("cannot read {path}")]
    Io { path: String, source: std::io::Error },
    #[error("{path} is not a file")]
    NotAFile { path: String },
    #[error("{path} cannot be used")]
    Header { path: String, source: HeaderError },
    #[error("{path} became shorter while it was being read")]
    Shrank { path: String },
    #[error("both `{first}` and `{second}` hold the tensor `{name}`: the file mixes two layouts")]
    Ambiguous { name: String, first: String, second: String },
    #[error("the tensor `{name}` is missing: the file is incomplete or of another family")]
    Missing { name: String },
    #[error("`{name}` is {actual:?}, this model needs {expected:?}")]
    Shape { name: String, actual: Vec<usize>, expected: Vec<usize> },
    #[error("`{name}` has element type {dtype}; weights must be F32, F16, BF16 or F64")]
    Dtype { name: String, dtype: &'static str },
    #[error("`{name}` holds {value} at element {index}: the file is damaged or its training diverged")]
    NotFinite { name: String, index: usize, value: f32 },
    #[error("`{name}` cannot become a tensor")]
    Tensor { name: String, source: candle_core::Error },
}

impl WeightError {
    /// Stable CamelCase word for statuses and metrics.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::Io { .. } => "FileUnreadable",
            Self::NotAFile { .. } => "NotAFile",
            Self::Header { source, .. } => source.reason(),
            Self::Shrank { .. } => "TruncatedFile",
            Self::Ambiguous { .. } => "AmbiguousLayout",
            Self::Missing { .. } => "MissingTensor",
            Self::Shape { .. } => "WrongShape",
            Self::Dtype { .. } => "UnsupportedDtype",
            Self::NotFinite { .. } => "NotFiniteWeights",
            Self::Tensor { .. } => "TensorError",
        }
    }

    /// Only what the disk did may go away by itself.
    pub fn retriable(&self) -> bool {
        match self {
            Self::Io { .. } | Self::Shrank { .. } => true,
            Self::Header { source, .. } => source.retriable(),
            Self::NotAFile { .. }
            | Self::Ambiguous { .. }
            | Self::Missing { .. }
            | Self::Shape { .. }
            | Self::Dtype { .. }
            | Self::NotFinite { .. }
            | Self::Tensor { .. } => false,
        }
    }
}

/// A place in the tree of names, such as `unet.mid_block.resnets.0`, and how networks are built there.
#[derive(Debug, Clone)]
pub struct Params {
    weights: Arc<Weights>,
    options: Arc<BuildOptions>,
    prefix: String,
}

impl Params {
    /// The root, where names are absolute, for networks as the files have them.
    pub fn new(weights: Arc<Weights>) -> Self {
        Self::with(weights, Arc::default())
    }

    /// The root for networks that are built otherwise than the files say.
    pub fn with(weights: Arc<Weights>, options: Arc<BuildOptions>) -> Self {
        Self { weights, options, prefix: String::new() }
    }

    /// One level down.
    pub fn at(&self, name: impl std::fmt::Display) -> Self {
        Self {
            weights: Arc::clone(&self.weights),
            options: Arc::clone(&self.options),
            prefix: format!("{}{name}.", self.prefix),
        }
    }

    /// How networks are built here.
    pub fn options(&self) -> &BuildOptions {
        &self.options
    }

    /// The path beside the layer that stands here.
    pub fn side(&self) -> Option<&SidePath> {
        self.options.sides.get(self.prefix.strip_suffix('.')?)
    }

    /// Is there such a tensor here?
    pub fn has(&self, name: &str) -> bool {
        self.shape(name).is_some()
    }

    /// The shape of a tensor here.
    pub fn shape(&self, name: &str) -> Option<&[usize]> {
        self.weights.shape(&format!("{}{name}", self.prefix))
    }

    /// The tensor `name` as f32 of exactly this shape, with the patches of the build options applied.
    /// Without a patch it shares the memory of every other use.
    ///
    /// # Errors
    /// It is missing, of another shape, not a float, or not finite.
    pub fn tensor(&self, name: &str, expected: &[usize]) -> Result<Tensor, WeightError> {
        let full = format!("{}{name}", self.prefix);
        if let Some(given) = self.options.given.get(&full) {
            if given.dims() != expected {
                let (actual, expected) = (given.dims().to_vec(), expected.to_vec());
                return Err(WeightError::Shape { name: full, actual, expected });
            }
            return Ok(given.clone());
        }
        if let Some(made) = self.weights.made(&full, expected) {
            return self.options.patched(&full, made?);
        }
        let actual = self.weights.shape(&full).ok_or_else(|| WeightError::Missing { name: full.clone() })?;
        if actual != expected {
            let original = self.weights.original_name(&full).unwrap_or(&full);
            return Err(WeightError::Shape {
                name: original.to_owned(),
                actual: actual.to_vec(),
                expected: expected.to_vec(),
            });
        }
        self.options.patched(&full, self.weights.tensor(&full)?)
    }

    /// A matrix that a file may also store as a 1x1 convolution (`[out, in, 1, 1]`).
    ///
    /// # Errors
    /// As for [`Params::tensor`].
    pub fn matrix(&self, name: &str, out: usize, input: usize) -> Result<Tensor, WeightError> {
        if self.shape(name).is_some_and(|s| s.len() == 4) {
            let tensor = self.tensor(name, &[out, input, 1, 1])?;
            return tensor
                .reshape((out, input))
                .map_err(|source| WeightError::Tensor { name: format!("{}{name}", self.prefix), source });
        }
        self.tensor(name, &[out, input])
    }
}
