//! `inpaint_only`: the picture as it is, and the mask, which the network then sees as -1.

use super::preprocessor::{Checked, Prepared, Preprocessor};
use crate::raster::{RasterError, check_mask};

pub(super) struct Inpaint;

impl Preprocessor for Inpaint {
    fn name(&self) -> &'static str {
        "inpaint_only"
    }

    fn aliases(&self) -> &'static [&'static str] {
        &["inpaint", "inpaint_global_harmonious"]
    }

    fn resizes(&self) -> bool {
        false
    }

    fn needs_mask(&self) -> bool {
        true
    }

    fn run(&self, source: &Checked) -> Result<Prepared, RasterError> {
        if let Some(mask) = source.mask {
            check_mask(mask.dimensions(), source.image.dimensions())?;
        }
        Ok(Prepared { picture: source.image.clone(), mask: source.mask.cloned() })
    }
}
