//! Why a prompt or an embedding cannot be used.

use super::options::TextStyle;

/// Why a text is not encoded. No text is ever malformed; embeddings and arithmetic can fail.
#[derive(Debug, thiserror::Error)]
pub enum TextError {
    #[error(
        "embedding `{name}` has width {width}, {}; this model is of {style} and reads {reads}: use an embedding \
         that was trained for it",
        trained_for(*width)
    )]
    EmbeddingWidth { name: String, width: usize, style: TextStyle, reads: usize },
    #[error("the arithmetic of the text encoder failed")]
    Tensor { source: candle_core::Error },
}

impl TextError {
    pub(super) fn tensor(source: candle_core::Error) -> Self {
        Self::Tensor { source }
    }

    /// Stable CamelCase word for statuses and metrics.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::EmbeddingWidth { .. } => "EmbeddingOfOtherFamily",
            Self::Tensor { .. } => "TensorError",
        }
    }

    /// The same text with the same model fails the same way.
    pub fn retriable(&self) -> bool {
        match self {
            Self::EmbeddingWidth { .. } | Self::Tensor { .. } => false,
        }
    }
}

/// The widths of the encoders of the families; SDXL's are those of its two encoders together.
fn trained_for(width: usize) -> &'static str {
    match width {
        768 => "an SD 1.x embedding",
        1024 => "an SD 2.x embedding",
        1280 => "an embedding of the SDXL refiner",
        2048 => "an SDXL embedding",
        _ => "which no family has",
    }
}

/// Why a file is no embedding.
#[derive(Debug, thiserror::Error)]
pub enum EmbeddingError {
    #[error(
        "embedding `{name}`: the file has no tensor of vectors (`emb_params`, `string_to_param`, `clip_l` and `clip_g`)"
    )]
    NoVectors { name: String },
    #[error("embedding `{name}`: the file holds several terms ({keys}); store one term per file")]
    SeveralTerms { name: String, keys: String },
    #[error("embedding `{name}`: `{key}` is {shape:?}, vectors are [count, width]")]
    Shape { name: String, key: String, shape: Vec<usize> },
    #[error("embedding `{name}` has {vectors} vectors, a chunk of the prompt holds {limit}")]
    TooManyVectors { name: String, vectors: usize, limit: usize },
    #[error("embedding `{name}` has {clip_l} vectors for the first encoder and {clip_g} for the second")]
    Uneven { name: String, clip_l: usize, clip_g: usize },
    #[error("embedding `{name}`: `{key}` holds values that are not finite: its training diverged")]
    NotFinite { name: String, key: String },
    #[error("an embedding cannot be called `{name}`: no prompt can say it")]
    Unsayable { name: String },
    #[error("embedding `{name}`: its vectors cannot be read as f32")]
    Tensor { name: String, source: candle_core::Error },
}

impl EmbeddingError {
    /// Stable CamelCase word for statuses and metrics.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::NoVectors { .. } | Self::SeveralTerms { .. } => "NotAnEmbedding",
            Self::Shape { .. } | Self::TooManyVectors { .. } | Self::Uneven { .. } => "WrongShape",
            Self::NotFinite { .. } => "NotFiniteWeights",
            Self::Unsayable { .. } => "InvalidName",
            Self::Tensor { .. } => "TensorError",
        }
    }

    /// A file does not change by reading it again.
    pub fn retriable(&self) -> bool {
        match self {
            Self::NoVectors { .. }
            | Self::SeveralTerms { .. }
            | Self::Shape { .. }
            | Self::TooManyVectors { .. }
            | Self::Uneven { .. }
            | Self::NotFinite { .. }
            | Self::Unsayable { .. }
            | Self::Tensor { .. } => false,
        }
    }
}
