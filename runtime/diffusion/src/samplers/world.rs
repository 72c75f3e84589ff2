//! What a sampler asks for.

use candle_core::{Result, Tensor};

/// The guided model, whatever it predicts, and noise. All latents are `[batch, channels, h, w]`.
pub trait World {
    /// The clean latent that the guided model sees in `x` = clean + sigma · noise.
    fn denoised(&mut self, x: &Tensor, sigma: f32) -> Result<Tensor>;
    /// The same at a timestep that the sampler chooses itself. A world that changes the clean latent, as
    /// one with a mask does, has its own.
    fn denoised_at(&mut self, x: &Tensor, sigma: f32, timestep: f32) -> Result<Tensor> {
        let c_in = 1.0 / sigma.mul_add(sigma, 1.0).sqrt();
        x - (self.epsilon(&(x * f64::from(c_in))?, timestep)? * f64::from(sigma))?
    }
    /// The noise that the guided model sees in `x`, which has unit variance at this timestep.
    fn epsilon(&mut self, x: &Tensor, timestep: f32) -> Result<Tensor>;
    /// Fresh noise of unit variance, from each picture's own stream.
    fn noise(&mut self) -> Result<Tensor>;
    /// The increment of each picture's own Brownian motion from `sigma` to `next`, scaled to unit
    /// variance: `BrownianNoise::draw`. The same levels give the same values again.
    fn brownian(&mut self, sigma: f32, next: f32) -> Result<Tensor>;
}
