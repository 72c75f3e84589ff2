//! Classifier-free guidance: what samplers see as the model.

use candle_core::{Device, Error, Result, Tensor};

use crate::random::{BrownianNoise, LatentNoise};
use crate::samplers::World;
use crate::schedule::NoiseTable;
use crate::text::Conditioning;
use crate::unet::{Unet, UnetInput};

/// The UNet with its two contexts and the pictures' noise.
pub(super) struct GuidedModel<'a> {
    unet: &'a Unet,
    table: &'a NoiseTable,
    cond: Conditioning,
    /// Absent when the guidance scale is 1.
    uncond: Option<Conditioning>,
    guidance_scale: f64,
    noise: LatentNoise,
    /// There for the samplers that ask for it.
    brownian: Option<BrownianNoise>,
}

impl<'a> GuidedModel<'a> {
    /// `cond`, `uncond` are not necessarily of one length.
    pub(super) fn new(
        unet: &'a Unet,
        table: &'a NoiseTable,
        cond: Conditioning,
        uncond: Option<Conditioning>,
        guidance_scale: f32,
        noise: LatentNoise,
        brownian: Option<BrownianNoise>,
    ) -> Self {
        Self { unet, table, cond, uncond, guidance_scale: f64::from(guidance_scale), noise, brownian }
    }

    fn predict(&self, x: &Tensor, timestep: f32, context: &Tensor) -> Result<Tensor> {
        let batch = x.dim(0)?;
        let timesteps = Tensor::full(timestep, batch, &Device::Cpu)?;
        self.unet.forward(&UnetInput::new(x, &timesteps, context))
    }
}

/// One context for every picture of a batch.
fn repeat(context: &Tensor, batch: usize) -> Result<Tensor> {
    let (_, tokens, width) = context.dims3()?;
    context.broadcast_as((batch, tokens, width))?.contiguous()
}

impl World for GuidedModel<'_> {
    /// k-diffusion's `CompVisDenoiser`, not quantised.
    fn denoised(&mut self, x: &Tensor, sigma: f32) -> Result<Tensor> {
        let c_in = 1.0 / sigma.mul_add(sigma, 1.0).sqrt();
        let epsilon = self.epsilon(&(x * f64::from(c_in))?, self.table.timestep_of(sigma))?;
        x - (epsilon * f64::from(sigma))?
    }

    /// uncond + scale · (cond - uncond). Prompts of one length share a pass; others take two, as
    /// A1111 does, since padding the shorter would change the picture.
    fn epsilon(&mut self, x: &Tensor, timestep: f32) -> Result<Tensor> {
        let batch = x.dim(0)?;
        let cond_context = repeat(&self.cond.context, batch)?;
        let Some(uncond) = &self.uncond else {
            return self.predict(x, timestep, &cond_context);
        };
        let uncond_context = repeat(&uncond.context, batch)?;
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

    fn brownian(&mut self, sigma: f32, next: f32) -> Result<Tensor> {
        match &mut self.brownian {
            Some(brownian) => brownian.draw(sigma, next),
            None => Err(Error::Msg(format!("there is no Brownian motion from {sigma} to {next}"))),
        }
    }
}
