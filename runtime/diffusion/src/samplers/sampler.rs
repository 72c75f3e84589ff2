//! What a sampler is.

use candle_core::{Result, Tensor};

use crate::schedule::{NoiseTable, Schedule, sigmas};

/// A run of one sampler: its noise levels, and whatever it remembers from step to step.
pub trait Steps: Send {
    /// How many steps there are.
    fn len(&self) -> usize;

    /// A run of nothing.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// What the initial noise, of unit variance, is multiplied by.
    fn initial_scale(&self) -> f32;

    /// One step from `x`, `[batch, channels, h, w]`, to the next latent.
    fn step(&mut self, index: usize, x: &Tensor, world: &mut dyn World) -> Result<Tensor>;
}

/// What a sampler asks for: the guided model, whatever it predicts, and noise.
pub trait World {
    /// The clean latent that the guided model sees in `x` = clean + sigma · noise.
    fn denoised(&mut self, x: &Tensor, sigma: f32) -> Result<Tensor>;
    /// The noise that the guided model sees in `x`, which has unit variance at this timestep.
    fn epsilon(&mut self, x: &Tensor, timestep: f32) -> Result<Tensor>;
    /// Fresh noise of unit variance, from each picture's own stream.
    fn noise(&mut self) -> Result<Tensor>;
    /// Each picture's own Brownian path between two noise levels, scaled to unit variance:
    /// (W(sigma) - W(next)) / √|sigma - next|. The same levels give the same values again.
    fn brownian(&mut self, sigma: f32, next: f32) -> Result<Tensor>;
}

/// What a request says about sampling.
#[derive(Debug, Clone, Copy)]
pub struct Plan<'a> {
    pub table: &'a NoiseTable,
    pub steps: usize,
    /// Never `Automatic` when it comes to a sampler.
    pub schedule: Schedule,
    pub eta: f32,
}

impl Plan<'_> {
    /// The noise levels that the plan's schedule gives.
    pub(super) fn sigmas(&self) -> Vec<f32> {
        sigmas(self.schedule, self.table, self.steps)
    }
}

/// A sampler's entry in the table.
#[derive(Debug)]
pub struct Entry {
    /// A1111's name, which infotexts carry.
    pub name: &'static str,
    /// Other names in lower case, with the schedule that they imply. diffusers' classes are among them.
    pub aliases: &'static [(&'static str, Option<Schedule>)],
    /// What `Automatic` means.
    pub automatic: Schedule,
    /// Does the schedule matter? Timestep samplers have their own.
    pub uses_schedule: bool,
    /// Default of eta and its key in infotexts; `None` if the sampler has no such thing.
    pub eta: Option<(f32, &'static str)>,
    /// Fewest steps that give more than noise.
    pub min_steps: u32,
    pub build: fn(&Plan) -> Box<dyn Steps>,
}

/// The derivative of `x` with respect to sigma.
pub(super) fn slope(x: &Tensor, denoised: &Tensor, sigma: f32) -> Result<Tensor> {
    (x - denoised)? / f64::from(sigma)
}
