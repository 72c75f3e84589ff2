//! What the first step starts from, and what the model is shown of the picture.

use candle_core::{Device, Result, Tensor};
use image::GrayImage;

use crate::config::ModelVariant;
use crate::pipeline::error::GenerateError;
use crate::pipeline::guidance::{Blend, Extra};
use crate::pipeline::networks::Networks;
use crate::pipeline::progress::Stage;
use crate::pipeline::request::{Fill, ImageToImage, Inpaint, Request};
use crate::random::LatentNoise;
use crate::raster::{LatentFilter, resize_latent};

use super::encode::{encode_picture, latent_mask, mean, pixels};
use super::overlay::Overlay;
use super::prepare::{Prepared, masked, whole};

/// A picture that was brought along, ready for the sampler.
#[derive(Debug)]
pub(in crate::pipeline) struct Source {
    /// `[batch, channels, h, w]`, scaled; of a batch of one where all pictures start alike.
    pub latent: Tensor,
    pub blend: Option<Blend>,
    pub extra: Extra,
    pub overlay: Option<Overlay>,
}

impl Source {
    /// Prepares and encodes the picture of a checked request.
    ///
    /// # Errors
    /// The mask vanishes under its blur, or the autoencoder fails.
    pub fn new(networks: &Networks, request: &Request) -> std::result::Result<Option<Self>, GenerateError> {
        let (Some(source), inpaint) = (request.mode.source(), request.mode.inpaint()) else {
            return Ok(None);
        };
        let (width, height) = (request.width, request.height);
        let prepared = match inpaint {
            None => whole(source, width, height)?,
            Some(inpaint) => masked(source, inpaint, width, height)?,
        };
        let failed = |source| GenerateError::Tensor { stage: Stage::Encode, source };
        let latent = encode_picture(&networks.vae, &prepared.picture)?;
        let scale = networks.vae.config().downscale();
        let (h, w) = (height as usize / scale, width as usize / scale);
        let latent = if latent.dims()[2..] == [h, w] {
            latent
        } else {
            resize_latent(&latent, h, w, LatentFilter::Bilinear).map_err(failed)?
        };
        let extra = extra(networks, &prepared, source, (h, w))?;
        let mut this = Self { latent, blend: None, extra, overlay: prepared.overlay };
        if let (Some(mask), Some(inpaint)) = (&prepared.mask, inpaint) {
            let mask = latent_mask(mask, h, w)?;
            this.latent = filled(this.latent, &mask, inpaint, request).map_err(failed)?;
            this.blend = Some(Blend { init: this.latent.clone(), mask });
        }
        Ok(Some(this))
    }
}

/// The latent under the mask, as `fill` says.
fn filled(latent: Tensor, mask: &Tensor, inpaint: &Inpaint, request: &Request) -> Result<Tensor> {
    let kept = || latent.broadcast_mul(&mask.affine(-1.0, 1.0)?);
    match inpaint.fill {
        Fill::Fill | Fill::Original => Ok(latent),
        Fill::LatentNothing => kept(),
        Fill::LatentNoise => {
            let (_, channels, height, width) = latent.dims4()?;
            let options = crate::random::NoiseOptions { source: request.noise_source, ..Default::default() };
            let noise =
                LatentNoise::with_options(&request.seeds(), (channels, height, width), options).draw()?;
            noise.broadcast_mul(mask)?.broadcast_add(&kept()?)
        }
    }
}

/// What the UNet reads behind the latent, by its channels.
fn extra(
    networks: &Networks,
    prepared: &Prepared,
    source: &ImageToImage,
    (height, width): (usize, usize),
) -> std::result::Result<Extra, GenerateError> {
    let failed = |source| GenerateError::Tensor { stage: Stage::Encode, source };
    match (networks.unet.config().variant(), &prepared.mask) {
        (Some(ModelVariant::Inpainting), Some(mask)) => {
            let pixel_mask = pixel_mask(mask).map_err(failed)?;
            let hidden = pixels(&prepared.picture)
                .and_then(|p| p.broadcast_mul(&pixel_mask.affine(-1.0, 1.0)?))
                .map_err(failed)?;
            let latent =
                (mean(&networks.vae, &hidden)? * networks.vae.config().scaling_factor).map_err(failed)?;
            let small = pixel_mask.upsample_nearest2d(height, width).map_err(failed)?;
            Ok(Extra::Masked(Tensor::cat(&[&small, &latent], 1).map_err(failed)?))
        }
        (Some(ModelVariant::InstructPix2Pix), _) => {
            let picture = pixels(&prepared.picture).map_err(failed)?;
            let latent = mean(&networks.vae, &picture)?;
            let fits = latent.dims()[2..] == [height, width];
            let latent = if fits || source.resize != crate::pipeline::Resize::Latent {
                latent
            } else {
                resize_latent(&latent, height, width, LatentFilter::Bilinear).map_err(failed)?
            };
            Ok(Extra::Picture(latent))
        }
        (Some(ModelVariant::TextToImage | ModelVariant::Inpainting) | None, _) => Ok(Extra::None),
    }
}

/// `[1, 1, h, w]` of zeros and ones.
fn pixel_mask(mask: &GrayImage) -> Result<Tensor> {
    let values: Vec<f32> = mask.pixels().map(|p| if p.0[0] > 127 { 1.0 } else { 0.0 }).collect();
    Tensor::from_vec(values, (1, 1, mask.height() as usize, mask.width() as usize), &Device::Cpu)
}
