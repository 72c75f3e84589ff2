//! The first pass's latents, enlarged for the second: A1111's `sample_hr_pass`.

use candle_core::{Result, Tensor};

use crate::raster::{Filter, RasterError, resize, resize_latent};

use super::error::GenerateError;
use super::networks::Networks;
use super::picture::to_rgb;
use super::progress::Stage;
use super::request::{Hires, HiresPlan, Request, Upscaler};
use super::source::encode_picture;

/// `latents: [batch, channels, h, w]`; the result has the second pass's size.
pub(super) fn enlarge(
    networks: &Networks,
    request: &Request,
    hires: &Hires,
    latents: &Tensor,
) -> std::result::Result<Tensor, GenerateError> {
    let failed = |source| GenerateError::Tensor { stage: Stage::Decode, source };
    let plan = HiresPlan::new(hires.size, request.width, request.height);
    let (width, height) = plan.enlarged;
    let large = match hires.upscaler {
        Upscaler::Latent(filter) => {
            resize_latent(latents, height as usize / 8, width as usize / 8, filter).map_err(failed)?
        }
        Upscaler::Lanczos => by_pixels(networks, request, latents, plan.enlarged, Filter::Lanczos)?,
        Upscaler::Nearest => by_pixels(networks, request, latents, plan.enlarged, Filter::Nearest)?,
    };
    cut(&large, plan).map_err(failed)
}

/// One picture at a time, which bounds the memory by that of one.
fn by_pixels(
    networks: &Networks,
    request: &Request,
    latents: &Tensor,
    (width, height): (u32, u32),
    filter: Filter,
) -> std::result::Result<Tensor, GenerateError> {
    let failed = |source| GenerateError::Tensor { stage: Stage::Decode, source };
    let mut large = Vec::new();
    for (i, seed) in request.seeds().into_iter().enumerate() {
        let latent = latents.narrow(0, i, 1).and_then(|l| l.contiguous()).map_err(failed)?;
        let decoded = networks.vae.decode(&latent).map_err(failed)?;
        let rgb = to_rgb(&decoded)
            .map_err(failed)?
            .ok_or(GenerateError::NotFinite { stage: Stage::Decode, seed })?;
        let rgb = resize(&rgb, width, height, filter).map_err(|e: RasterError| GenerateError::from(e))?;
        large.push(encode_picture(&networks.vae, &rgb)?);
    }
    Tensor::cat(&large, 0).map_err(failed)
}

/// Cuts evenly what sticks out; an odd latent more at the end.
fn cut(latents: &Tensor, plan: HiresPlan) -> Result<Tensor> {
    let (width, height) = plan.latents();
    let (left, top) = (plan.cut.0 / 2, plan.cut.1 / 2);
    latents.narrow(2, top as usize, height as usize)?.narrow(3, left as usize, width as usize)?.contiguous()
}
