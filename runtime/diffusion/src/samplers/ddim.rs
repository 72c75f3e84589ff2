//! DDIM, Song et al. 2020: A1111's `sd_samplers_timesteps_impl.ddim`.
//!
//! Its timesteps are every `1000 / steps`-th, plus one, and the walk ends at the first of them, not at
//! zero: 20 steps ask the model 19 times. That is what pictures made there were made with.

use candle_core::{Result, Tensor};

use crate::schedule::{NoiseTable, Schedule};

use super::sampler::{Entry, Plan, Steps, World};

pub(super) static DDIM: Entry = Entry {
    name: "DDIM",
    aliases: &[("ddimscheduler", None)],
    automatic: Schedule::Uniform,
    uses_schedule: false,
    eta: Some((0.0, "Eta DDIM")),
    min_steps: 2,
    build: |plan| Box::new(Ddim::new(plan)),
};

struct Ddim {
    /// Ascending; steps go from the last to the first.
    timesteps: Vec<usize>,
    alphas: Vec<f32>,
    eta: f32,
}

impl Ddim {
    fn new(plan: &Plan) -> Self {
        let timesteps = timesteps(plan.table, plan.steps);
        let alphas = timesteps.iter().map(|t| plan.table.alphas_cumprod()[*t]).collect();
        Self { timesteps, alphas, eta: plan.eta }
    }
}

fn timesteps(table: &NoiseTable, steps: usize) -> Vec<usize> {
    let count = table.alphas_cumprod().len();
    let stride = (count / steps.max(1)).max(1);
    (0..count).step_by(stride).map(|t| (t + 1).min(count - 1)).collect()
}

impl Steps for Ddim {
    fn len(&self) -> usize {
        self.timesteps.len() - 1
    }

    fn initial_scale(&self) -> f32 {
        1.0
    }

    fn step(&mut self, index: usize, x: &Tensor, world: &mut dyn World) -> Result<Tensor> {
        let at = self.timesteps.len() - 1 - index;
        let epsilon = world.epsilon(x, self.timesteps[at] as f32)?;
        let (alpha, previous) = (f64::from(self.alphas[at]), f64::from(self.alphas[at - 1]));
        let sigma =
            f64::from(self.eta) * ((1.0 - previous) / (1.0 - alpha) * (1.0 - alpha / previous)).sqrt();
        let clean = ((x - (&epsilon * (1.0 - alpha).sqrt())?)? / alpha.sqrt())?;
        let direction = (epsilon * (1.0 - previous - sigma * sigma).max(0.0).sqrt())?;
        let next = ((clean * previous.sqrt())? + direction)?;
        // A1111 draws noise even when it is multiplied by zero; no later draw depends on it then.
        if sigma > 0.0 { next + (world.noise()? * sigma)? } else { Ok(next) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timesteps_are_uniform_with_an_offset_of_one() {
        let table = NoiseTable::sd1();
        let t = timesteps(&table, 20);
        assert_eq!((t.len(), t[0], t[1], t[19]), (20, 1, 51, 951));
        // 1000 / 30 is 33, so there is one more than asked for.
        let t = timesteps(&table, 30);
        assert_eq!((t.len(), t[30]), (31, 991));
        assert_eq!(timesteps(&table, 1), [1]);
    }
}
