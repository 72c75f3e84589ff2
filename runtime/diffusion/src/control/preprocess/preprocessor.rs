//! What a preprocessor is, is given and gives.

use image::{GrayImage, RgbImage};

use super::error::PreprocessError;
use crate::raster::RasterError;

/// One number that a preprocessor reads.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Parameter {
    /// What the extension's slider is called.
    pub label: &'static str,
    pub minimum: f32,
    pub maximum: f32,
    pub default: f32,
}

/// The shorter side of the hint; every preprocessor that resizes reads it.
pub const RESOLUTION: Parameter =
    Parameter { label: "Resolution", minimum: 64.0, maximum: 2048.0, default: 512.0 };

/// What a request says. Numbers that the preprocessor does not read are passed over, as in the
/// extension, where they keep whatever the last slider showed.
#[derive(Debug, Clone, Copy)]
pub struct Source<'a> {
    pub image: &'a RgbImage,
    /// 255 where the picture is to be repainted; of the picture's size.
    pub mask: Option<&'a GrayImage>,
    /// The hint's shorter side in pixels, 64 to 2048; 512 if unset.
    pub resolution: Option<u32>,
    /// The first number; the preprocessor's default if unset.
    pub threshold_a: Option<f32>,
    /// The second number.
    pub threshold_b: Option<f32>,
    /// Of preprocessors that draw random numbers.
    pub seed: u64,
}

impl<'a> Source<'a> {
    /// Everything at its default.
    pub fn new(image: &'a RgbImage) -> Self {
        Self { image, mask: None, resolution: None, threshold_a: None, threshold_b: None, seed: 0 }
    }
}

/// A source whose numbers have been checked.
#[derive(Debug, Clone, Copy)]
pub struct Checked<'a> {
    pub image: &'a RgbImage,
    pub mask: Option<&'a GrayImage>,
    pub resolution: u32,
    pub a: f32,
    pub b: f32,
    pub seed: u64,
}

/// A hint before it is brought to the picture's size.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Prepared {
    pub picture: RgbImage,
    /// What inpainting networks see as -1; of the picture's size.
    pub mask: Option<GrayImage>,
}

impl From<RgbImage> for Prepared {
    fn from(picture: RgbImage) -> Self {
        Self { picture, mask: None }
    }
}

/// One way from a picture to a hint.
pub trait Preprocessor: Sync {
    /// Its name in requests.
    fn name(&self) -> &'static str;

    /// Further names, such as older ones.
    fn aliases(&self) -> &'static [&'static str] {
        &[]
    }

    /// Does it bring the picture to the resolution asked for?
    fn resizes(&self) -> bool {
        true
    }

    fn needs_mask(&self) -> bool {
        false
    }

    /// `threshold_a` and `threshold_b`, where they are read.
    fn parameters(&self) -> [Option<Parameter>; 2] {
        [None, None]
    }

    /// Makes the hint.
    ///
    /// # Errors
    /// The picture is empty, or it or the hint is over the limits.
    fn run(&self, source: &Checked) -> Result<Prepared, RasterError>;
}

impl dyn Preprocessor {
    /// Checks the numbers, then runs.
    ///
    /// # Errors
    /// A number is out of range, a mask is missing, or the picture cannot be used.
    pub fn prepare(&self, source: &Source) -> Result<Prepared, PreprocessError> {
        let number = |parameter: &'static str, slot: Option<Parameter>, value: Option<f32>| {
            let Some(Parameter { minimum, maximum, default, .. }) = slot else { return Ok(0.0) };
            let value = value.unwrap_or(default);
            if (minimum..=maximum).contains(&value) {
                return Ok(value);
            }
            Err(PreprocessError::Parameter { preprocessor: self.name(), parameter, value, minimum, maximum })
        };
        let [a, b] = self.parameters();
        let resolution = self.resizes().then_some(RESOLUTION);
        let checked = Checked {
            image: source.image,
            mask: source.mask,
            resolution: number("resolution", resolution, source.resolution.map(|r| r as f32))? as u32,
            a: number("threshold_a", a, source.threshold_a)?,
            b: number("threshold_b", b, source.threshold_b)?,
            seed: source.seed,
        };
        if self.needs_mask() && source.mask.is_none() {
            return Err(PreprocessError::NoMask { preprocessor: self.name() });
        }
        let picture = |source| PreprocessError::Picture { preprocessor: self.name(), source };
        crate::raster::check_size(source.image.width(), source.image.height()).map_err(picture)?;
        self.run(&checked).map_err(picture)
    }
}
