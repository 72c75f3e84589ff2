//! PLMS, the pseudo linear multistep method of Liu et al. 2022 (PNDM): A1111's
//! `sd_samplers_timesteps_impl.plms`, diffusers' `PNDMScheduler` with `skip_prk_steps`.
//!
//! As with DDIM the walk ends at the first timestep.

use std::collections::VecDeque;

use candle_core::{Result, Tensor};

use super::entry::Entry;
use super::plan::Plan;
use super::steps::Steps;
use super::timesteps::{Timesteps, clean};
use super::walk::blend;
use super::world::World;

pub(super) static PLMS: Entry = Entry {
    aliases: &[("k_plms", None), ("pndm", None)],
    uses_schedule: false,
    min_steps: 2,
    ..Entry::plain("PLMS", |plan| Box::new(Plms::new(plan)))
};

/// Adams and Bashforth's weights of the noise now and before.
const WEIGHTS: [&[f64]; 3] = [
    &[3.0 / 2.0, -1.0 / 2.0],
    &[23.0 / 12.0, -16.0 / 12.0, 5.0 / 12.0],
    &[55.0 / 24.0, -59.0 / 24.0, 37.0 / 24.0, -9.0 / 24.0],
];

struct Plms {
    times: Timesteps,
    /// Noises of the steps before, the latest first; three at most.
    past: VecDeque<Tensor>,
}

impl Plms {
    fn new(plan: &Plan) -> Self {
        Self { times: Timesteps::new(plan), past: VecDeque::new() }
    }

    /// The latent one timestep below `at`, were `epsilon` the noise all along.
    fn move_down(&self, at: usize, x: &Tensor, epsilon: &Tensor) -> Result<Tensor> {
        let previous = self.times.alphas[at - 1];
        blend(previous.sqrt(), &clean(x, epsilon, self.times.alphas[at])?, (1.0 - previous).sqrt(), epsilon)
    }

    /// The noise that the step goes by.
    fn slope(&self, at: usize, x: &Tensor, now: &Tensor, world: &mut dyn World) -> Result<Tensor> {
        if self.past.is_empty() {
            let there = self.move_down(at, x, now)?;
            let next = world.epsilon(&there, self.times.taken[at - 1] as f32)?;
            return (now + next)? * 0.5;
        }
        let weights = WEIGHTS[self.past.len() - 1];
        let mut slope = (now * weights[0])?;
        for (weight, past) in weights[1..].iter().zip(&self.past) {
            slope = (slope + (past * *weight)?)?;
        }
        Ok(slope)
    }
}

impl Steps for Plms {
    fn len(&self) -> usize {
        self.times.taken.len().saturating_sub(1)
    }

    fn noised(&self, init: Option<&Tensor>, noise: &Tensor) -> Result<Tensor> {
        self.times.noised(init, noise)
    }

    fn step(&mut self, index: usize, x: &Tensor, world: &mut dyn World) -> Result<Tensor> {
        let at = self.times.taken.len() - 1 - index;
        let now = world.epsilon(x, self.times.taken[at] as f32)?;
        let slope = self.slope(at, x, &now, world)?;
        self.past.push_front(now);
        self.past.truncate(WEIGHTS.len());
        self.move_down(at, x, &slope)
    }
}
