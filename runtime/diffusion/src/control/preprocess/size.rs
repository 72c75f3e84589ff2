//! Bringing a picture to the resolution at which a preprocessor works.
//!
//! Facts: `resize_image_with_pad` in the extension: the shorter side becomes the resolution, by area when
//! it shrinks and by a cubic when it grows; then the edges are repeated up to multiples of 64.

use image::RgbImage;

use crate::raster::{RasterError, check_size, resize_area, resize_cubic};

/// Repeats the right and the bottom edge up to multiples of this.
const STEP: u32 = 64;

/// Resizes so that the shorter side is `resolution`.
pub(super) fn to_resolution(image: &RgbImage, resolution: u32) -> Result<RgbImage, RasterError> {
    check_size(image.width(), image.height())?;
    let shorter = image.width().min(image.height());
    let scale = f64::from(resolution) / f64::from(shorter);
    let side = |side: u32| (f64::from(side) * scale).round_ties_even() as u32;
    let (width, height) = (side(image.width()), side(image.height()));
    check_size(width, height)?;
    if scale > 1.0 { resize_cubic(image, width, height) } else { resize_area(image, width, height) }
}

/// The picture with its last column and row repeated up to the next multiples of 64.
pub(super) fn padded(image: &RgbImage) -> RgbImage {
    let (width, height) = image.dimensions();
    let up = |side: u32| side.next_multiple_of(STEP);
    RgbImage::from_fn(up(width), up(height), |x, y| *image.get_pixel(x.min(width - 1), y.min(height - 1)))
}
