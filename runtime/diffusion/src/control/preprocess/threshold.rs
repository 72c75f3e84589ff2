//! `threshold`: white where the darkest channel is above a number.

use image::Rgb;

use super::preprocessor::{Checked, Parameter, Prepared, Preprocessor};
use super::size::to_resolution;
use crate::raster::RasterError;

pub(super) struct Threshold;

impl Preprocessor for Threshold {
    fn name(&self) -> &'static str {
        "threshold"
    }

    fn parameters(&self) -> [Option<Parameter>; 2] {
        let label = "Binarization Threshold";
        [Some(Parameter { label, minimum: 0.0, maximum: 255.0, default: 127.0 }), None]
    }

    fn run(&self, source: &Checked) -> Result<Prepared, RasterError> {
        let mut picture = to_resolution(source.image, source.resolution)?;
        for pixel in picture.pixels_mut() {
            let [r, g, b] = pixel.0;
            *pixel = Rgb([if f32::from(r.min(g).min(b)) > source.a { 255 } else { 0 }; 3]);
        }
        Ok(picture.into())
    }
}
