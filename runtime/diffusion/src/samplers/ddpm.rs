//! DDPM's ancestral sampling, Ho et al. 2020: diffusers' `DDPMScheduler` with `fixed_small` variance and
//! nothing clipped, on the `leading` timesteps with an offset of one, as SD's configurations have them.

use candle_core::{Result, Tensor};

use super::entry::Entry;
use super::plan::Plan;
use super::steps::Steps;
use super::timesteps::{clean, noised};
use super::walk::blend;
use super::world::World;

pub(super) static DDPM: Entry = Entry {
    aliases: &[("k_ddpm", None)],
    uses_schedule: false,
    min_steps: 2,
    ..Entry::plain("DDPM", |plan| Box::new(Ddpm::new(plan)))
};

struct Ddpm {
    /// Timesteps, falling, with their share of the signal's variance.
    times: Vec<(usize, f64)>,
    is_noised: bool,
}

impl Ddpm {
    fn new(plan: &Plan) -> Self {
        let alphas = plan.table.alphas_cumprod();
        let steps = plan.whole_steps().clamp(1, alphas.len());
        let stride = alphas.len() / steps;
        let last = alphas.len() - 1;
        let taken = plan.start.map_or(steps, |start| start.t_enc.clamp(1, steps));
        let times =
            (0..taken).rev().map(|i| (i * stride + 1).min(last)).map(|t| (t, f64::from(alphas[t]))).collect();
        Self { times, is_noised: plan.start.is_some() }
    }
}

impl Steps for Ddpm {
    fn len(&self) -> usize {
        self.times.len()
    }

    fn noised(&self, init: Option<&Tensor>, noise: &Tensor) -> Result<Tensor> {
        noised(init, noise, self.is_noised.then_some(self.times[0].1))
    }

    fn step(&mut self, index: usize, x: &Tensor, world: &mut dyn World) -> Result<Tensor> {
        let (t, alpha) = self.times[index];
        // After the last timestep there is nothing but signal.
        let previous = self.times.get(index + 1).map_or(1.0, |(_, alpha)| *alpha);
        let epsilon = world.epsilon(x, t as f32)?;
        let beta = 1.0 - alpha / previous;
        let to_clean = previous.sqrt() * beta / (1.0 - alpha);
        let to_x = (alpha / previous).sqrt() * (1.0 - previous) / (1.0 - alpha);
        let mean = blend(to_clean, &clean(x, &epsilon, alpha)?, to_x, x)?;
        let variance = (1.0 - previous) / (1.0 - alpha) * beta;
        if variance > 0.0 { mean + (world.noise()? * variance.sqrt())? } else { Ok(mean) }
    }
}
