//! DDIM, Song et al. 2020: A1111's `sd_samplers_timesteps_impl.ddim`.
//!
//! The walk ends at the first of its timesteps, not at zero: 20 steps ask the model 19 times. That is what
//! pictures made there were made with.

use candle_core::{Result, Tensor};

use super::entry::{ETA_DDIM, Entry};
use super::plan::Plan;
use super::steps::Steps;
use super::timesteps::{Timesteps, clean};
use super::walk::blend;
use super::world::World;

pub(super) static DDIM: Entry = Entry {
    aliases: &[("k_ddim", None)],
    uses_schedule: false,
    eta: ETA_DDIM,
    min_steps: 2,
    ..Entry::plain("DDIM", |plan| Box::new(Ddim::new(plan)))
};

struct Ddim {
    times: Timesteps,
    eta: f64,
}

impl Ddim {
    fn new(plan: &Plan) -> Self {
        Self { times: Timesteps::new(plan), eta: plan.eta() }
    }
}

impl Steps for Ddim {
    fn len(&self) -> usize {
        self.times.taken.len().saturating_sub(1)
    }

    fn noised(&self, init: Option<&Tensor>, noise: &Tensor) -> Result<Tensor> {
        self.times.noised(init, noise)
    }

    fn step(&mut self, index: usize, x: &Tensor, world: &mut dyn World) -> Result<Tensor> {
        let at = self.times.taken.len() - 1 - index;
        let epsilon = world.epsilon(x, self.times.taken[at] as f32)?;
        let (alpha, previous) = (self.times.alphas[at], self.times.alphas[at - 1]);
        let sigma = self.eta * ((1.0 - previous) / (1.0 - alpha) * (1.0 - alpha / previous)).sqrt();
        let direction = (1.0 - previous - sigma * sigma).max(0.0).sqrt();
        let next = blend(previous.sqrt(), &clean(x, &epsilon, alpha)?, direction, &epsilon)?;
        // A1111 draws noise even when it is multiplied by zero; no later draw depends on it then.
        if sigma > 0.0 { next + (world.noise()? * sigma)? } else { Ok(next) }
    }
}
