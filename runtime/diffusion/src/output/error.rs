//! Why a picture cannot be written.

/// The encoder refused.
#[derive(Debug, thiserror::Error)]
pub enum EncodeError {
    #[error("cannot write the picture as PNG")]
    Png { source: ::png::EncodingError },
    #[error("cannot write the picture as JPEG")]
    Jpeg { source: image::ImageError },
}

impl EncodeError {
    /// Stable CamelCase word for statuses and metrics.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::Png { .. } | Self::Jpeg { .. } => "EncodeFailed",
        }
    }

    /// The same picture fails the same way.
    pub fn retriable(&self) -> bool {
        match self {
            Self::Png { .. } | Self::Jpeg { .. } => false,
        }
    }
}
