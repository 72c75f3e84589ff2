//! DPM-Solver++(2S) with fresh noise: k-diffusion's `sample_dpmpp_2s_ancestral`.

use candle_core::{Result, Tensor};

use crate::schedule::Schedule;

use super::ancestral::{ancestral_step, with_noise};
use super::entry::{ETA, Entry};
use super::plan::Plan;
use super::walk::{Level, Solver, Walk, blend};
use super::world::World;

pub(super) static DPMPP_2S_ANCESTRAL: Entry = Entry {
    aliases: &[("k_dpmpp_2s_a", None), ("k_dpmpp_2s_ancestral", None)],
    automatic: Schedule::Karras,
    eta: ETA,
    s_noise: true,
    evaluations: 2,
    uses_ensd: true,
    ..Entry::plain("DPM++ 2S a", |plan| Walk::boxed(plan, Dpmpp2s::new(plan)))
};

struct Dpmpp2s {
    eta: f64,
    noise: f64,
}

impl Dpmpp2s {
    fn new(plan: &Plan) -> Self {
        Self { eta: plan.eta(), noise: f64::from(plan.options.s_noise) }
    }
}

impl Solver for Dpmpp2s {
    fn step(&mut self, at: &Level, x: &Tensor, world: &mut dyn World) -> Result<Tensor> {
        let sigma = at.sigma();
        let clean = world.denoised(x, sigma as f32)?;
        let (down, up) = ancestral_step(sigma, at.next(), self.eta);
        let x = if down == 0.0 {
            clean
        } else {
            let middle = (sigma * down).sqrt();
            let between = blend(middle / sigma, x, 1.0 - middle / sigma, &clean)?;
            let clean = world.denoised(&between, middle as f32)?;
            blend(down / sigma, x, 1.0 - down / sigma, &clean)?
        };
        if at.next() > 0.0 { with_noise(x, world, up * self.noise) } else { Ok(x) }
    }
}
