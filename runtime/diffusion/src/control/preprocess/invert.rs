//! `invert`: for drawings of dark lines on white, where networks have learnt white on black.

use super::preprocessor::{Checked, Prepared, Preprocessor};
use crate::raster::RasterError;

pub(super) struct Invert;

impl Preprocessor for Invert {
    fn name(&self) -> &'static str {
        "invert"
    }

    fn resizes(&self) -> bool {
        false
    }

    fn run(&self, source: &Checked) -> Result<Prepared, RasterError> {
        let mut picture = source.image.clone();
        for value in picture.iter_mut() {
            *value = 255 - *value;
        }
        Ok(picture.into())
    }
}
