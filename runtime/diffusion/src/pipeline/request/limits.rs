//! What can be checked without a model.

use std::ops::RangeInclusive;

use image::GrayImage;

use super::error::RequestError;
use super::hires::{Hires, HiresPlan, HiresSize};
use super::mode::{Area, ImageToImage, Inpaint, Resize};
use super::request::Request;

/// Sides are multiples of this: pixels per latent.
const SIDE_STEP: u32 = 8;
/// Below 64 pixels the UNet's lowest level has less than one latent.
const SIDES: RangeInclusive<u32> = 64..=2048;
/// Of pictures that are brought along; 8192 squared are 200 MB.
const PICTURE_SIDES: RangeInclusive<u32> = 8..=8192;
const STEPS: RangeInclusive<u32> = 1..=150;
const BATCH: RangeInclusive<u32> = 1..=16;
const CLIP_SKIP: RangeInclusive<u32> = 1..=12;
const GUIDANCE: RangeInclusive<f64> = 0.0..=30.0;
const UNIT: RangeInclusive<f64> = 0.0..=1.0;
/// Nothing but the enlarged picture would come of no strength at all.
const HIRES_STRENGTH: RangeInclusive<f64> = 0.01..=1.0;
const HIRES_SCALE: RangeInclusive<f64> = 1.0..=4.0;
const MASK_BLUR: RangeInclusive<u32> = 0..=64;
const MASK_PADDING: RangeInclusive<u32> = 0..=256;
const CHURN: RangeInclusive<f64> = 0.0..=100.0;
const SIGMA: RangeInclusive<f64> = 0.0..=f64::INFINITY;
/// Near zero the power of the Karras schedule leaves the range of f32.
const RHO: RangeInclusive<f64> = 0.1..=100.0;
const LEVEL: RangeInclusive<f64> = 0.001..=1000.0;
const S_NOISE: RangeInclusive<f64> = 0.0..=4.0;
/// Longest prompt in characters: some 130 chunks if every character is a token.
const MAX_PROMPT: usize = 10_000;

impl Request {
    /// Checks all that can be checked without a model.
    ///
    /// # Errors
    /// The first value out of its limits.
    pub fn validate(&self) -> Result<(), RequestError> {
        side("width", self.width)?;
        side("height", self.height)?;
        range("steps", self.steps, &STEPS)?;
        range("batch_size", self.batch_size, &BATCH)?;
        range("clip_skip", self.clip_skip, &CLIP_SKIP)?;
        number("guidance_scale", self.guidance_scale, &GUIDANCE)?;
        number("guidance_rescale", self.guidance_rescale, &UNIT)?;
        if let Some(eta) = self.eta {
            number("eta", eta, &UNIT)?;
        }
        prompt("prompt", &self.prompt)?;
        prompt("negative_prompt", &self.negative_prompt)?;
        self.check_noise()?;
        if let Some(source) = self.mode.source() {
            check_source(source)?;
            if let Some(inpaint) = self.mode.inpaint() {
                check_mask(source, inpaint)?;
            }
        }
        if let Some(hires) = &self.hires {
            self.check_hires(hires)?;
        }
        let entry = self.sampler.entry();
        if self.steps < entry.min_steps {
            let (sampler, min) = (entry.name, entry.min_steps);
            return Err(RequestError::StepsOfSampler { sampler, steps: self.steps, min });
        }
        Ok(())
    }

    fn check_noise(&self) -> Result<(), RequestError> {
        if let Some(variation) = &self.variation {
            number("variation.strength", variation.strength, &UNIT)?;
        }
        if let Some((width, height)) = self.seed_resize {
            side("seed_resize width", width)?;
            side("seed_resize height", height)?;
        }
        if let Some(share) = self.refiner_switch_at {
            number("refiner_switch_at", share, &UNIT)?;
        }
        if let Some(scale) = self.image_guidance_scale {
            number("image_guidance_scale", scale, &GUIDANCE)?;
        }
        number("s_churn", self.churn.s_churn, &CHURN)?;
        number("s_tmin", self.churn.s_tmin, &SIGMA)?;
        number("s_tmax", self.churn.s_tmax, &SIGMA)?;
        number("s_noise", self.churn.s_noise, &S_NOISE)?;
        let sigmas = &self.sigmas;
        for (field, value, limits) in [
            ("schedule rho", sigmas.rho, &RHO),
            ("schedule sigma_min", sigmas.sigma_min, &LEVEL),
            ("schedule sigma_max", sigmas.sigma_max, &LEVEL),
        ] {
            value.map_or(Ok(()), |value| number(field, value, limits))?;
        }
        Ok(())
    }

    fn check_hires(&self, hires: &Hires) -> Result<(), RequestError> {
        if self.mode.source().is_some() {
            return Err(RequestError::HiresOfPicture);
        }
        match hires.size {
            HiresSize::Scale(scale) => number("hires.scale", scale, &HIRES_SCALE)?,
            HiresSize::Exact { width, height } => {
                side("hires.width", width)?;
                side("hires.height", height)?;
            }
        }
        let (width, height) = HiresPlan::new(hires.size, self.width, self.height).latents();
        side("hires.width", width * SIDE_STEP)?;
        side("hires.height", height * SIDE_STEP)?;
        number("hires.strength", hires.strength, &HIRES_STRENGTH)?;
        if let Some(steps) = hires.steps {
            range("hires.steps", steps, &STEPS)?;
        }
        if let Some(scale) = hires.guidance_scale {
            number("hires.guidance_scale", scale, &GUIDANCE)?;
        }
        prompt("hires.prompt", hires.prompt.as_deref().unwrap_or_default())?;
        prompt("hires.negative_prompt", hires.negative_prompt.as_deref().unwrap_or_default())
    }
}

fn check_source(source: &ImageToImage) -> Result<(), RequestError> {
    let (width, height) = source.picture.dimensions();
    if !PICTURE_SIDES.contains(&width) || !PICTURE_SIDES.contains(&height) {
        let (min, max) = (*PICTURE_SIDES.start(), *PICTURE_SIDES.end());
        return Err(RequestError::PictureSize { width, height, min, max });
    }
    if source.resize == Resize::Latent {
        let step = width.is_multiple_of(SIDE_STEP) && height.is_multiple_of(SIDE_STEP);
        if !step || width < *SIDES.start() || height < *SIDES.start() {
            return Err(RequestError::PictureStep { width, height });
        }
    }
    number("strength", source.strength, &UNIT)
}

fn check_mask(source: &ImageToImage, inpaint: &Inpaint) -> Result<(), RequestError> {
    let (picture_width, picture_height) = source.picture.dimensions();
    let (width, height) = inpaint.mask.dimensions();
    if (width, height) != (picture_width, picture_height) {
        return Err(RequestError::MaskSize { width, height, picture_width, picture_height });
    }
    if source.resize == Resize::Latent {
        return Err(RequestError::MaskedLatent);
    }
    range("mask_blur", inpaint.mask_blur, &MASK_BLUR)?;
    if let Area::OnlyMasked { padding } = inpaint.area {
        range("padding", padding, &MASK_PADDING)?;
    }
    if is_empty(&inpaint.mask, inpaint.inverted) {
        return Err(RequestError::MaskEmpty);
    }
    Ok(())
}

fn is_empty(mask: &GrayImage, inverted: bool) -> bool {
    mask.pixels().all(|p| (p.0[0] >= 128) == inverted)
}

fn side(field: &'static str, value: u32) -> Result<(), RequestError> {
    if SIDES.contains(&value) && value.is_multiple_of(SIDE_STEP) {
        return Ok(());
    }
    let (min, max) = (*SIDES.start(), *SIDES.end());
    let nearest = (value.clamp(min, max) + SIDE_STEP / 2) / SIDE_STEP * SIDE_STEP;
    Err(RequestError::Side { field, value, min, max, nearest })
}

fn range(field: &'static str, value: u32, limits: &RangeInclusive<u32>) -> Result<(), RequestError> {
    if limits.contains(&value) {
        return Ok(());
    }
    Err(RequestError::Range { field, value, min: *limits.start(), max: *limits.end() })
}

fn number(
    field: &'static str,
    value: impl Into<f64>,
    limits: &RangeInclusive<f64>,
) -> Result<(), RequestError> {
    let value = value.into();
    // NaN is in no range.
    if limits.contains(&value) {
        return Ok(());
    }
    Err(RequestError::Number { field, value, min: *limits.start(), max: *limits.end() })
}

fn prompt(field: &'static str, text: &str) -> Result<(), RequestError> {
    let length = text.chars().count();
    if length > MAX_PROMPT {
        return Err(RequestError::PromptTooLong { field, length, limit: MAX_PROMPT });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pipeline::{Mode, Variation};
    use crate::samplers::Sampler;
    use image::RgbImage;
    use std::sync::Arc;

    type Change = fn(&mut Request);

    fn assert_refused(cases: &[(&str, Change, &str)]) {
        for (name, change, want) in cases {
            let mut request = Request::default();
            change(&mut request);
            assert_eq!(request.validate().unwrap_err().to_string(), *want, "{name}");
        }
    }

    #[test]
    fn values_out_of_bounds_are_refused_with_value_limit_and_remedy() {
        assert_eq!(Request::default().validate(), Ok(()));
        assert_refused(&[
            ("width", |r| r.width = 100, "width is 100; it must be a multiple of 8 from 64 to 2048: try 104"),
            ("zero", |r| r.height = 0, "height is 0; it must be a multiple of 8 from 64 to 2048: try 64"),
            (
                "large",
                |r| r.height = 4096,
                "height is 4096; it must be a multiple of 8 from 64 to 2048: try 2048",
            ),
            ("no steps", |r| r.steps = 0, "steps is 0; it must be from 1 to 150"),
            ("empty batch", |r| r.batch_size = 0, "batch_size is 0; it must be from 1 to 16"),
            ("clip skip 0", |r| r.clip_skip = 0, "clip_skip is 0; it must be from 1 to 12"),
            (
                "guidance NaN",
                |r| r.guidance_scale = f32::NAN,
                "guidance_scale is NaN; it must be a number from 0 to 30",
            ),
            ("eta 2", |r| r.eta = Some(2.0), "eta is 2; it must be a number from 0 to 1"),
            (
                "long prompt",
                |r| r.prompt = "é".repeat(10_001),
                "prompt has 10001 characters, the limit is 10000: shorten it",
            ),
            (
                "DDIM with one step",
                |r| {
                    r.steps = 1;
                    r.sampler = Sampler::parse("DDIM").unwrap().0;
                },
                "steps is 1; DDIM needs at least 2",
            ),
            (
                "variation",
                |r| r.variation = Some(Variation { seed: 1, strength: -0.5 }),
                "variation.strength is -0.5; it must be a number from 0 to 1",
            ),
            (
                "seed resize",
                |r| r.seed_resize = Some((64, 12)),
                "seed_resize height is 12; it must be a multiple of 8 from 64 to 2048: try 64",
            ),
            (
                "hires of 4096",
                |r| {
                    r.width = 1024;
                    r.hires = Some(Hires { size: HiresSize::Scale(4.0), ..Default::default() });
                },
                "hires.width is 4096; it must be a multiple of 8 from 64 to 2048: try 2048",
            ),
        ]);
    }

    fn source() -> ImageToImage {
        let picture = Arc::new(RgbImage::new(64, 64));
        ImageToImage { picture, strength: 0.5, resize: Resize::default() }
    }

    fn inpaint(level: u8) -> Inpaint {
        Inpaint {
            mask: Arc::new(GrayImage::from_pixel(64, 64, [level].into())),
            mask_blur: 4,
            fill: Default::default(),
            area: Area::WholePicture,
            inverted: false,
        }
    }

    #[test]
    fn pictures_and_masks_must_fit_each_other() {
        let good = Request { mode: Mode::Inpaint(source(), inpaint(255)), ..Default::default() };
        assert_eq!(good.validate(), Ok(()));
        let latent = ImageToImage { resize: Resize::Latent, ..source() };
        let small = ImageToImage { picture: Arc::new(RgbImage::new(4, 64)), ..source() };
        let odd = ImageToImage { picture: Arc::new(RgbImage::new(68, 64)), ..latent.clone() };
        let other = Inpaint { mask: Arc::new(GrayImage::new(64, 65)), ..inpaint(255) };
        let cases = [
            (Mode::ImageToImage(small), "the picture is 4x64; its sides must be from 8 to 8192"),
            (
                Mode::ImageToImage(odd),
                "the picture is 68x64; to stretch its latent, its sides must be multiples of 8",
            ),
            (
                Mode::ImageToImage(ImageToImage { strength: 1.1, ..source() }),
                "strength is 1.1; it must be a number from 0 to 1",
            ),
            (
                Mode::Inpaint(source(), other),
                "the mask is 64x65, the picture 64x64: they must be of one size",
            ),
            (Mode::Inpaint(source(), inpaint(127)), "the mask is empty: no pixel is to be drawn anew"),
            (
                Mode::Inpaint(source(), Inpaint { inverted: true, ..inpaint(255) }),
                "the mask is empty: no pixel is to be drawn anew",
            ),
            (
                Mode::Inpaint(latent, inpaint(255)),
                "the latent of a masked picture cannot be stretched: choose a way to resize the picture",
            ),
            (
                Mode::Inpaint(source(), Inpaint { mask_blur: 65, ..inpaint(255) }),
                "mask_blur is 65; it must be from 0 to 64",
            ),
        ];
        for (mode, want) in cases {
            let request = Request { mode, ..Default::default() };
            assert_eq!(request.validate().unwrap_err().to_string(), want);
        }
        let enlarged = Request { hires: Some(Hires::default()), ..good };
        assert_eq!(enlarged.validate(), Err(RequestError::HiresOfPicture));
    }
}
