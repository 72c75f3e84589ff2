//! `none`: the picture already is a hint.

use super::preprocessor::{Checked, Prepared, Preprocessor};
use crate::raster::RasterError;

pub(super) struct Nothing;

impl Preprocessor for Nothing {
    fn name(&self) -> &'static str {
        "none"
    }

    fn resizes(&self) -> bool {
        false
    }

    fn run(&self, source: &Checked) -> Result<Prepared, RasterError> {
        Ok(source.image.clone().into())
    }
}
