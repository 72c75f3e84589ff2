//! The "fill" start of inpainting: A1111's `modules/masking.py`, `fill`.

use image::{GrayImage, RgbImage};

use super::alpha::{over, scale, unpremultiply};
use super::box_blur::box_gaussian;
use super::error::{RasterError, check_mask, check_size};

/// Blurs of the unmasked picture, from far to near, and how often each is laid over the last: the wide
/// ones reach into the middle of a hole, the narrow ones restore its rim.
const LAYERS: [(f32, usize); 6] = [(256.0, 1), (64.0, 1), (16.0, 2), (4.0, 4), (2.0, 2), (0.0, 1)];

/// Replaces what `mask` covers (255: wholly) by colours smeared in from around it.
///
/// # Errors
/// The sizes differ, or the picture is empty or over the limits.
pub fn fill_masked(image: &RgbImage, mask: &GrayImage) -> Result<RgbImage, RasterError> {
    check_mask(mask.dimensions(), image.dimensions())?;
    check_size(image.width(), image.height())?;
    let seen: Vec<[u8; 4]> = image
        .pixels()
        .zip(mask.pixels())
        .map(|(pixel, mask)| {
            let alpha = 255 - mask.0[0];
            let [r, g, b] = pixel.0;
            [scale(r, alpha), scale(g, alpha), scale(b, alpha), alpha]
        })
        .collect();
    let mut filled = vec![[0_u8; 4]; seen.len()];
    for (sigma, repeats) in LAYERS {
        let layer = box_gaussian(&seen, image.width() as usize, sigma);
        for (under, layer) in filled.iter_mut().zip(layer) {
            let layer = unpremultiply(layer);
            for _ in 0..repeats {
                *under = over(*under, layer);
            }
        }
    }
    let raw = filled.iter().flat_map(|[r, g, b, _]| [*r, *g, *b]).collect();
    Ok(RgbImage::from_raw(image.width(), image.height(), raw).expect("one pixel for each of the picture's"))
}
