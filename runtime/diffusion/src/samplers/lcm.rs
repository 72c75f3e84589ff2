//! Latent consistency models, Luo et al. 2023: A1111's `sd_samplers_lcm.py`.
//!
//! These models know fifty timesteps, and their output is mixed with the input by the boundary condition.

use candle_core::{Result, Tensor};

use crate::schedule::NoiseTable;

use super::ancestral::with_noise;
use super::entry::Entry;
use super::plan::Plan;
use super::walk::{Level, Solver, Walk, blend};
use super::world::World;

pub(super) static LCM: Entry = Entry {
    aliases: &[("k_lcm", None)],
    ..Entry::plain("LCM", |plan| {
        let lcm = Lcm::new(plan.table);
        Walk::boxed(&Plan { table: &lcm.table.clone(), ..*plan }, lcm)
    })
};

const TIMESTEPS: usize = 50;
const SIGMA_DATA: f64 = 0.5;
/// What the reference multiplies timesteps by in the boundary condition.
const TIMESTEP_SCALING: f64 = 10.0;

struct Lcm {
    /// The levels of the fifty timesteps.
    table: NoiseTable,
    stride: usize,
    last: usize,
}

impl Lcm {
    fn new(table: &NoiseTable) -> Self {
        let alphas = table.alphas_cumprod();
        let last = alphas.len() - 1;
        let known = TIMESTEPS.min(alphas.len());
        let stride = alphas.len() / known;
        let mut taken: Vec<f32> = (0..known).map(|i| alphas[last - i * stride]).collect();
        taken.reverse();
        Self { table: NoiseTable::of_alphas(taken), stride, last }
    }

    /// The known timestep whose level is nearest in the logarithm.
    fn timestep_of(&self, sigma: f64) -> usize {
        let distance = |level: &f32| (f64::from(*level).ln() - sigma.ln()).abs();
        let levels = self.table.sigmas();
        let nearest = (0..levels.len())
            .min_by(|a, b| distance(&levels[*a]).total_cmp(&distance(&levels[*b])))
            .unwrap_or(0);
        self.last - (levels.len() - 1 - nearest) * self.stride
    }

    /// The clean latent that the model sees at the nearest timestep that it knows.
    fn clean(&self, x: &Tensor, sigma: f64, world: &mut dyn World) -> Result<Tensor> {
        let timestep = self.timestep_of(sigma);
        let clean = world.denoised_at(x, sigma as f32, timestep as f32)?;
        let scaled = timestep as f64 * TIMESTEP_SCALING;
        let norm = scaled * scaled + SIGMA_DATA * SIGMA_DATA;
        blend(scaled / norm.sqrt(), &clean, SIGMA_DATA * SIGMA_DATA / norm, x)
    }
}

impl Solver for Lcm {
    fn step(&mut self, at: &Level, x: &Tensor, world: &mut dyn World) -> Result<Tensor> {
        let clean = self.clean(x, at.sigma(), world)?;
        if at.next() > 0.0 { with_noise(clean, world, at.next()) } else { Ok(clean) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_fall_on_the_timesteps_that_the_model_knows() {
        let table = NoiseTable::sd1();
        let lcm = Lcm::new(&table);
        for (t, want) in [(0.0, 19), (19.0, 19), (30.0, 39), (500.0, 499), (999.0, 999)] {
            assert_eq!(lcm.timestep_of(f64::from(table.sigma_at(t))), want, "{t}");
        }
    }
}
