//! Pixels to what the networks read.

use candle_core::{Device, Result, Tensor};
use image::{GrayImage, RgbImage};

use crate::pipeline::error::GenerateError;
use crate::pipeline::progress::Stage;
use crate::raster::{Filter, RasterError, resize};
use crate::vae::{Vae, VaeError};

/// `[1, 3, h, w]`, -1 to 1.
pub(super) fn pixels(picture: &RgbImage) -> Result<Tensor> {
    let (width, height) = picture.dimensions();
    let area = (width * height) as usize;
    let mut values = vec![0.0_f32; 3 * area];
    for (i, pixel) in picture.pixels().enumerate() {
        for (c, level) in pixel.0.iter().enumerate() {
            values[c * area + i] = f32::from(*level) / 255.0 * 2.0 - 1.0;
        }
    }
    Tensor::from_vec(values, (1, 3, height as usize, width as usize), &Device::Cpu)
}

/// The mean of the latents that the encoder sees in `picture`, `[1, channels, h/8, w/8]`, not scaled.
///
/// The reference draws from around the mean with a generator whose state no seed determines (it depends
/// on what was computed before), so its own pictures differ from one another by that. The mean is what
/// they scatter about; diffusers calls it `sample_mode="argmax"`.
pub(super) fn mean(vae: &Vae, picture: &Tensor) -> std::result::Result<Tensor, GenerateError> {
    let failed = |source| GenerateError::Tensor { stage: Stage::Encode, source };
    let moments = vae.moments(picture).map_err(|error| match error {
        VaeError::NoEncoder => failed(candle_core::Error::Msg(error.to_string())),
        VaeError::Tensor { source } => failed(source),
    })?;
    let mean = moments.narrow(1, 0, vae.config().latent_channels).and_then(|m| m.contiguous());
    mean.map_err(failed)
}

/// The latent of a picture, scaled as samplers have it.
pub(in crate::pipeline) fn encode_picture(
    vae: &Vae,
    picture: &RgbImage,
) -> std::result::Result<Tensor, GenerateError> {
    let failed = |source| GenerateError::Tensor { stage: Stage::Encode, source };
    let mean = mean(vae, &pixels(picture).map_err(failed)?)?;
    (mean * vae.config().scaling_factor).map_err(failed)
}

/// `[1, 1, height, width]`: 1 where more than half of a latent is masked, 0 elsewhere.
pub(super) fn latent_mask(
    mask: &GrayImage,
    height: usize,
    width: usize,
) -> std::result::Result<Tensor, RasterError> {
    let small = resize(mask, width as u32, height as u32, Filter::Bicubic)?;
    let values: Vec<f32> = small.pixels().map(|p| if p.0[0] > 127 { 1.0 } else { 0.0 }).collect();
    let tensor = Tensor::from_vec(values, (1, 1, height, width), &Device::Cpu);
    Ok(tensor.expect("the resized mask has height x width pixels"))
}
