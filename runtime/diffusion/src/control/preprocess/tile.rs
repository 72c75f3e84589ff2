//! `tile_resample`: the picture made smaller, so that the network invents the detail anew.

use super::preprocessor::{Checked, Parameter, Prepared, Preprocessor};
use crate::raster::{RasterError, resize_area};

/// Below this rate the picture is left as it is, as in the extension.
const LEAST: f32 = 1.1;

pub(super) struct Tile;

impl Preprocessor for Tile {
    fn name(&self) -> &'static str {
        "tile_resample"
    }

    fn aliases(&self) -> &'static [&'static str] {
        &["tile"]
    }

    fn resizes(&self) -> bool {
        false
    }

    fn parameters(&self) -> [Option<Parameter>; 2] {
        [Some(Parameter { label: "Down Sampling Rate", minimum: 1.0, maximum: 8.0, default: 1.0 }), None]
    }

    fn run(&self, source: &Checked) -> Result<Prepared, RasterError> {
        if source.a < LEAST {
            return Ok(source.image.clone().into());
        }
        let smaller = |side: u32| ((f64::from(side) / f64::from(source.a)) as u32).max(1);
        let picture =
            resize_area(source.image, smaller(source.image.width()), smaller(source.image.height()))?;
        Ok(picture.into())
    }
}
