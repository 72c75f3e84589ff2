//! DPM-Solver++ for the stochastic differential equation: k-diffusion's `sample_dpmpp_sde`.

use candle_core::{Result, Tensor};

use crate::schedule::Schedule;

use super::ancestral::ancestral_step;
use super::entry::{ETA, Entry};
use super::plan::Plan;
use super::walk::{Level, Solver, Walk, blend};
use super::world::World;

pub(super) static DPMPP_SDE: Entry = Entry {
    // The pairs are those of diffusers' table of the web UI's names.
    aliases: &[
        ("k_dpmpp_sde", None),
        ("dpmsolversde", Some(Schedule::Uniform)),
        ("dpmsolversinglestep", Some(Schedule::Uniform)),
    ],
    automatic: Schedule::Karras,
    eta: ETA,
    s_noise: true,
    evaluations: 2,
    brownian: true,
    ..Entry::plain("DPM++ SDE", |plan| Walk::boxed(plan, DpmppSde::new(plan)))
};

struct DpmppSde {
    eta: f64,
    noise: f64,
}

impl DpmppSde {
    fn new(plan: &Plan) -> Self {
        Self { eta: plan.eta(), noise: f64::from(plan.options.s_noise) }
    }

    /// A first-order step from `x` at `from` towards `clean`, with the noise of the way to `to`.
    fn half(
        &self,
        x: &Tensor,
        clean: &Tensor,
        (from, to): (f32, f32),
        world: &mut dyn World,
    ) -> Result<Tensor> {
        let (sigma, next) = (f64::from(from), f64::from(to));
        let (down, up) = ancestral_step(sigma, next, self.eta);
        let x = blend(down / sigma, x, 1.0 - down / sigma, clean)?;
        x + (world.brownian(from, to)? * (up * self.noise))?
    }
}

impl Solver for DpmppSde {
    const BROWNIAN: bool = true;

    fn step(&mut self, at: &Level, x: &Tensor, world: &mut dyn World) -> Result<Tensor> {
        let clean = world.denoised(x, at.sigma() as f32)?;
        if at.next() == 0.0 {
            return Ok(clean);
        }
        // The levels go through their logarithms in f32, as the reference's do: the Brownian motion is
        // asked at exactly these times, and a millionth of a level is other noise.
        let t = -at.sigmas[at.index].ln();
        let t_next = -at.sigmas[at.index + 1].ln();
        let middle = t + (t_next - t) * 0.5;
        let [from, between, to] = [t, middle, t_next].map(|t| (-t).exp());
        let halfway = self.half(x, &clean, (from, between), world)?;
        let clean = world.denoised(&halfway, between)?;
        self.half(x, &clean, (from, to), world)
    }
}
