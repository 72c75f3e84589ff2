//! Why a picture cannot be made.

/// Longest side of a picture made here: a request of hostile size must not reach an allocation.
pub const MAX_SIDE: u32 = 16_384;
/// Most pixels of a picture made here: 8192 squared, 200 MB of RGB.
pub const MAX_PIXELS: u64 = 1 << 26;

/// The sizes asked for are of no use.
#[derive(Debug, thiserror::Error)]
pub enum RasterError {
    #[error("a picture of {width}x{height} has no pixels: both sides must be at least 1")]
    Empty { width: u32, height: u32 },
    #[error(
        "a picture of {width}x{height} is over the limit of {MAX_SIDE} a side and {MAX_PIXELS} pixels: make it smaller"
    )]
    TooLarge { width: u32, height: u32 },
    #[error("the mask is {mask_width}x{mask_height}, its picture {width}x{height}: they must be of one size")]
    SizesDiffer { mask_width: u32, mask_height: u32, width: u32, height: u32 },
    #[error("a blur of sigma {sigma} cannot be computed: it must be from 0 to {limit}")]
    Sigma { sigma: f32, limit: f32 },
}

impl RasterError {
    /// Stable CamelCase word for statuses and metrics.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::Empty { .. } => "EmptyPicture",
            Self::TooLarge { .. } => "PictureTooLarge",
            Self::SizesDiffer { .. } => "MaskSizeDiffers",
            Self::Sigma { .. } => "InvalidBlur",
        }
    }

    /// The same picture fails the same way.
    pub fn retriable(&self) -> bool {
        match self {
            Self::Empty { .. } | Self::TooLarge { .. } | Self::SizesDiffer { .. } | Self::Sigma { .. } => {
                false
            }
        }
    }
}

/// Refuses sizes without pixels and over the limits.
pub(crate) fn check_size(width: u32, height: u32) -> Result<(), RasterError> {
    if width == 0 || height == 0 {
        return Err(RasterError::Empty { width, height });
    }
    if width > MAX_SIDE || height > MAX_SIDE || u64::from(width) * u64::from(height) > MAX_PIXELS {
        return Err(RasterError::TooLarge { width, height });
    }
    Ok(())
}

/// Refuses a mask that is not of its picture's size.
pub(crate) fn check_mask(mask: (u32, u32), picture: (u32, u32)) -> Result<(), RasterError> {
    if mask == picture {
        return Ok(());
    }
    let ((mask_width, mask_height), (width, height)) = (mask, picture);
    Err(RasterError::SizesDiffer { mask_width, mask_height, width, height })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_bounded_on_both_ends() {
        for (width, height, reason) in [
            (1, 1, None),
            (8192, 8192, None),
            (16_384, 1, None),
            (0, 5, Some("EmptyPicture")),
            (5, 0, Some("EmptyPicture")),
            (16_385, 1, Some("PictureTooLarge")),
            (8193, 8192, Some("PictureTooLarge")),
            (u32::MAX, u32::MAX, Some("PictureTooLarge")),
        ] {
            assert_eq!(check_size(width, height).err().map(|e| e.reason()), reason, "{width}x{height}");
        }
    }
}
