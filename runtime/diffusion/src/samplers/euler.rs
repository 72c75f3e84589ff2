//! Euler's method: k-diffusion's `sample_euler` without churn.

use candle_core::{Result, Tensor};

use crate::schedule::Schedule;

use super::sampler::{Entry, Plan, Steps, World, slope};

pub(super) static EULER: Entry = Entry {
    name: "Euler",
    aliases: &[("k_euler", None), ("eulerdiscretescheduler", None), ("eulerdiscrete", None)],
    automatic: Schedule::Uniform,
    uses_schedule: true,
    eta: None,
    min_steps: 1,
    build: |plan| Box::new(Euler::new(plan)),
};

struct Euler {
    sigmas: Vec<f32>,
}

impl Euler {
    fn new(plan: &Plan) -> Self {
        Self { sigmas: plan.sigmas() }
    }
}

impl Steps for Euler {
    fn len(&self) -> usize {
        self.sigmas.len() - 1
    }

    fn initial_scale(&self) -> f32 {
        self.sigmas[0]
    }

    fn step(&mut self, index: usize, x: &Tensor, world: &mut dyn World) -> Result<Tensor> {
        let (sigma, next) = (self.sigmas[index], self.sigmas[index + 1]);
        let clean = world.denoised(x, sigma)?;
        x + (slope(x, &clean, sigma)? * f64::from(next - sigma))?
    }
}
