//! Why a data set cannot be trained on.

use std::path::PathBuf;

use super::caption::MAX_CAPTION_BYTES;
use super::picture::MAX_FILE_BYTES;

/// What is wrong with which file or setting.
#[derive(Debug, thiserror::Error)]
pub enum DataError {
    #[error("cannot read {}", path.display())]
    Unreadable { path: PathBuf, source: std::io::Error },
    #[error("{} holds no picture: put .png, .jpg, .jpeg or .webp files there", path.display())]
    Empty { path: PathBuf },
    #[error("{} holds more than {limit} pictures: divide it into several folders and use fewer", path.display())]
    TooMany { path: PathBuf, limit: usize },
    #[error(
        "{} has {size} bytes; pictures of up to {MAX_FILE_BYTES} are read: store it smaller", path.display()
    )]
    FileTooLarge { path: PathBuf, size: u64 },
    #[error("{} cannot be decoded: {detail}; remove it or store it anew", path.display())]
    Undecodable { path: PathBuf, detail: String },
    #[error("{} is over the limits: {detail}; store it smaller", path.display())]
    OverLimits { path: PathBuf, detail: String },
    #[error("{} is {width}x{height}: {remedy}", path.display())]
    Dimensions { path: PathBuf, width: u32, height: u32, remedy: &'static str },
    #[error("{} has no caption: write one into {}, or give one for the folder", path.display(), caption.display())]
    NoCaption { path: PathBuf, caption: PathBuf },
    #[error("the caption {} is no UTF-8 text", path.display())]
    CaptionNotText { path: PathBuf },
    #[error("the caption {} has {size} bytes; the limit is {MAX_CAPTION_BYTES}", path.display())]
    CaptionTooLong { path: PathBuf, size: u64 },
    #[error("{option} is {value}: {allowed}")]
    Option { option: &'static str, value: String, allowed: &'static str },
    #[error("no folder of the subject's pictures was given")]
    NoSubject,
    #[error("cannot keep the latent of a picture in {}", path.display())]
    Cache { path: PathBuf, source: std::io::Error },
    #[error("the pixels of {} cannot become a tensor", path.display())]
    Tensor { path: PathBuf, source: candle_core::Error },
}

impl DataError {
    /// Stable CamelCase word for statuses and metrics.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::Unreadable { .. } => "FileUnreadable",
            Self::Empty { .. } | Self::NoSubject => "EmptyDataset",
            Self::TooMany { .. } => "TooManyPictures",
            Self::FileTooLarge { .. } | Self::OverLimits { .. } | Self::Dimensions { .. } => "PictureSize",
            Self::Undecodable { .. } => "PictureUndecodable",
            Self::NoCaption { .. } => "NoCaption",
            Self::CaptionNotText { .. } | Self::CaptionTooLong { .. } => "InvalidCaption",
            Self::Option { .. } => "InvalidOption",
            Self::Cache { .. } => "CacheUnwritable",
            Self::Tensor { .. } => "TensorError",
        }
    }

    /// Only what the disk did may go away by itself.
    pub fn retriable(&self) -> bool {
        match self {
            Self::Unreadable { .. } | Self::Cache { .. } => true,
            Self::Empty { .. }
            | Self::NoSubject
            | Self::TooMany { .. }
            | Self::FileTooLarge { .. }
            | Self::OverLimits { .. }
            | Self::Dimensions { .. }
            | Self::Undecodable { .. }
            | Self::NoCaption { .. }
            | Self::CaptionNotText { .. }
            | Self::CaptionTooLong { .. }
            | Self::Option { .. }
            | Self::Tensor { .. } => false,
        }
    }
}
