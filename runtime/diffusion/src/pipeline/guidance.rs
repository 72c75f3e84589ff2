//! Classifier-free guidance: what samplers see as the model.

use candle_core::{Device, Result, Tensor};

use crate::random::LatentNoise;
use crate::samplers::World;
use crate::unet::Unet;

/// The UNet with its two contexts and the pictures' noise.
pub(super) struct GuidedModel<'a> {
    unet: &'a Unet,
    cond: Tensor,
    /// Absent when the guidance scale is 1.
    uncond: Option<Tensor>,
    guidance_scale: f64,
    noise: LatentNoise,
}

impl<'a> GuidedModel<'a> {
    /// `cond`, `uncond`: `[1, tokens, width]`, not necessarily of one length.
    pub(super) fn new(
        unet: &'a Unet,
        cond: Tensor,
        uncond: Option<Tensor>,
        guidance_scale: f32,
        noise: LatentNoise,
    ) -> Self {
        Self { unet, cond, uncond, guidance_scale: f64::from(guidance_scale), noise }
    }

    fn predict(&self, x: &Tensor, timestep: f32, context: &Tensor) -> Result<Tensor> {
        let batch = x.dim(0)?;
        let timesteps = Tensor::full(timestep, batch, &Device::Cpu)?;
        self.unet.forward(x, &timesteps, context)
    }
}

/// One context for every picture of a batch.
fn repeat(context: &Tensor, batch: usize) -> Result<Tensor> {
    let (_, tokens, width) = context.dims3()?;
    context.broadcast_as((batch, tokens, width))?.contiguous()
}

impl World for GuidedModel<'_> {
    /// uncond + scale · (cond - uncond). Prompts of one length share a pass; others take two, as
    /// A1111 does, since padding the shorter would change the picture.
    fn epsilon(&mut self, x: &Tensor, timestep: f32) -> Result<Tensor> {
        let batch = x.dim(0)?;
        let cond_context = repeat(&self.cond, batch)?;
        let Some(uncond) = &self.uncond else {
            return self.predict(x, timestep, &cond_context);
        };
        let uncond_context = repeat(uncond, batch)?;
        let (cond, uncond) = if cond_context.dim(1)? == uncond_context.dim(1)? {
            let context = Tensor::cat(&[&cond_context, &uncond_context], 0)?;
            let both = self.predict(&Tensor::cat(&[x, x], 0)?, timestep, &context)?;
            (both.narrow(0, 0, batch)?, both.narrow(0, batch, batch)?)
        } else {
            (self.predict(x, timestep, &cond_context)?, self.predict(x, timestep, &uncond_context)?)
        };
        &uncond + ((cond - &uncond)? * self.guidance_scale)?
    }

    fn noise(&mut self) -> Result<Tensor> {
        self.noise.draw()
    }
}
