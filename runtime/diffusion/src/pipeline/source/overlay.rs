//! The original, laid over the result where it was not masked: A1111's `apply_overlay` and `uncrop`.

use image::{GrayImage, RgbImage, Rgba, RgbaImage, imageops};

use crate::raster::{RasterError, Region, ResizeMode, alpha_composite, fit};

/// What stays of the original.
#[derive(Debug)]
pub(in crate::pipeline) struct Overlay {
    layer: RgbaImage,
    /// Where the result belongs; `None`: it is as large as the layer.
    paste: Option<Region>,
}

impl Overlay {
    /// `picture` with what `mask` (of its size) leaves of it.
    pub fn new(picture: &RgbImage, mask: &GrayImage, paste: Option<Region>) -> Self {
        let mut layer = RgbaImage::new(picture.width(), picture.height());
        for ((to, from), mask) in layer.pixels_mut().zip(picture.pixels()).zip(mask.pixels()) {
            *to = kept(from.0, 255 - mask.0[0]);
        }
        Self { layer, paste }
    }

    /// The result in its place, with the original over it.
    ///
    /// # Errors
    /// A size is over the limits, which sizes of checked requests are not.
    pub fn apply(&self, result: &RgbImage) -> Result<RgbImage, RasterError> {
        let Some(region) = self.paste else { return alpha_composite(result, &self.layer) };
        let small = fit(result, ResizeMode::CropAndResize, region.width(), region.height())?;
        let mut canvas = RgbImage::new(self.layer.width(), self.layer.height());
        imageops::replace(&mut canvas, &small, i64::from(region.left), i64::from(region.top));
        alpha_composite(&canvas, &self.layer)
    }
}

/// A colour that went through Pillow's premultiplied form and back, which rounds twice.
fn kept(colour: [u8; 3], alpha: u8) -> Rgba<u8> {
    let premultiplied = colour.map(|c| {
        let product = u32::from(c) * u32::from(alpha) + 128;
        ((product >> 8) + product) >> 8
    });
    let [r, g, b] = match alpha {
        0 | 255 => premultiplied.map(|c| c as u8),
        _ => premultiplied.map(|c| (c * 255 / u32::from(alpha)).min(255) as u8),
    };
    Rgba([r, g, b, alpha])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_original_stays_where_the_mask_is_empty() {
        let original = RgbImage::from_fn(6, 4, |x, y| image::Rgb([x as u8 * 40, y as u8 * 60, 7]));
        let mask = GrayImage::from_fn(6, 4, |x, _| image::Luma([if x < 3 { 0 } else { 255 }]));
        let result = RgbImage::from_pixel(6, 4, image::Rgb([200, 100, 50]));
        let out = Overlay::new(&original, &mask, None).apply(&result).unwrap();
        for (x, y, pixel) in out.enumerate_pixels() {
            let want = if x < 3 { original.get_pixel(x, y) } else { result.get_pixel(x, y) };
            assert_eq!(pixel, want, "{x} {y}");
        }
    }

    #[test]
    fn a_result_of_a_part_returns_to_its_place() {
        let original = RgbImage::from_pixel(8, 8, image::Rgb([9, 9, 9]));
        let region = Region { left: 2, top: 4, right: 6, bottom: 8 };
        let inside = |x: u32, y: u32| (2..6).contains(&x) && (4..8).contains(&y);
        let mask = GrayImage::from_fn(8, 8, |x, y| image::Luma([if inside(x, y) { 255 } else { 0 }]));
        let result = RgbImage::from_pixel(16, 16, image::Rgb([250, 1, 2]));
        let out = Overlay::new(&original, &mask, Some(region)).apply(&result).unwrap();
        for (x, y, pixel) in out.enumerate_pixels() {
            let want = if inside(x, y) { [250, 1, 2] } else { [9, 9, 9] };
            assert_eq!(pixel.0, want, "{x} {y}");
        }
    }
}
