//! `scribble_xdog`: strokes where a narrow blur is brighter or darker than a wide one.
//!
//! Facts: the extension's `scribble_xdog`; the idea is Winnemöller et al., "XDoG: an eXtended
//! difference-of-Gaussians compendium" (2012).

use image::{Rgb, RgbImage};

use super::preprocessor::{Checked, Parameter, Prepared, Preprocessor};
use super::size::{padded, to_resolution};
use crate::raster::{RasterError, blur_plane};

/// Standard deviations of the two blurs in pixels.
const NARROW: f32 = 0.5;
const WIDE: f32 = 5.0;

pub(super) struct ScribbleXdog;

impl Preprocessor for ScribbleXdog {
    fn name(&self) -> &'static str {
        "scribble_xdog"
    }

    fn parameters(&self) -> [Option<Parameter>; 2] {
        [Some(Parameter { label: "XDoG Threshold", minimum: 1.0, maximum: 64.0, default: 32.0 }), None]
    }

    fn run(&self, source: &Checked) -> Result<Prepared, RasterError> {
        let picture = to_resolution(source.image, source.resolution)?;
        let darkest = differences(&padded(&picture))?;
        let line = picture.width().next_multiple_of(64) as usize;
        let out = RgbImage::from_fn(picture.width(), picture.height(), |x, y| {
            Rgb([stroke(darkest[y as usize * line + x as usize], source.a); 3])
        });
        Ok(out.into())
    }
}

/// Per pixel the least difference of the blurs over the channels.
fn differences(image: &RgbImage) -> Result<Vec<f32>, RasterError> {
    let width = image.width() as usize;
    let mut least = vec![f32::INFINITY; width * image.height() as usize];
    for c in 0..3 {
        let plane: Vec<f32> = image.pixels().map(|p| f32::from(p.0[c])).collect();
        let narrow = blur_plane(&plane, width, NARROW)?;
        let wide = blur_plane(&plane, width, WIDE)?;
        for ((least, narrow), wide) in least.iter_mut().zip(narrow).zip(wide) {
            *least = least.min(wide - narrow);
        }
    }
    Ok(least)
}

/// The reference doubles a byte without widening it, so strokes of 128 and more wrap around; that is
/// kept, since networks have seen it.
fn stroke(difference: f32, threshold: f32) -> u8 {
    let bright = (255.0 - difference).clamp(0.0, 255.0) as u8;
    let doubled = (255 - bright).wrapping_mul(2);
    if f32::from(doubled) > threshold { 255 } else { 0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strong_strokes_wrap_around() {
        for (difference, want) in
            [(0.0, 0), (-5.0, 0), (16.5, 255), (16.0, 0), (127.0, 255), (128.0, 0), (200.0, 255)]
        {
            assert_eq!(stroke(difference, 32.0), want, "{difference}");
        }
    }
}
