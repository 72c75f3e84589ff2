//! DPM-Solver-2 with fresh noise: k-diffusion's `sample_dpm_2_ancestral`.

use candle_core::{Result, Tensor};

use crate::schedule::Schedule;

use super::ancestral::{ancestral_step, with_noise};
use super::dpm2::midpoint_step;
use super::entry::{ETA, Entry};
use super::plan::Plan;
use super::walk::{Level, Solver, Walk};
use super::world::World;

pub(super) static DPM2_ANCESTRAL: Entry = Entry {
    aliases: &[("k_dpm_2_a", None), ("k_dpm_2_ancestral", None), ("kdpm2ancestraldiscrete", None)],
    automatic: Schedule::Karras,
    eta: ETA,
    s_noise: true,
    discards_penultimate: true,
    evaluations: 2,
    uses_ensd: true,
    ..Entry::plain("DPM2 a", |plan| Walk::boxed(plan, Dpm2Ancestral::new(plan)))
};

struct Dpm2Ancestral {
    eta: f64,
    noise: f64,
}

impl Dpm2Ancestral {
    fn new(plan: &Plan) -> Self {
        Self { eta: plan.eta(), noise: f64::from(plan.options.s_noise) }
    }
}

impl Solver for Dpm2Ancestral {
    fn step(&mut self, at: &Level, x: &Tensor, world: &mut dyn World) -> Result<Tensor> {
        let (down, up) = ancestral_step(at.sigma(), at.next(), self.eta);
        let x = midpoint_step(x, at.sigma(), down, world)?;
        if down > 0.0 { with_noise(x, world, up * self.noise) } else { Ok(x) }
    }
}
