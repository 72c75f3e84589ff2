//! Euler's method with fresh noise: k-diffusion's `sample_euler_ancestral`.

use candle_core::{Result, Tensor};

use super::ancestral::{ancestral_step, with_noise};
use super::entry::{ETA, Entry};
use super::walk::{Level, Solver, Walk, slope};
use super::world::World;

pub(super) static EULER_ANCESTRAL: Entry = Entry {
    aliases: &[
        ("k_euler_a", None),
        ("k_euler_ancestral", None),
        ("euler ancestral", None),
        ("eulerancestraldiscrete", None),
    ],
    eta: ETA,
    uses_ensd: true,
    ..Entry::plain("Euler a", |plan| Walk::boxed(plan, EulerAncestral { eta: plan.eta() }))
};

struct EulerAncestral {
    eta: f64,
}

impl Solver for EulerAncestral {
    fn step(&mut self, at: &Level, x: &Tensor, world: &mut dyn World) -> Result<Tensor> {
        let sigma = at.sigma();
        let clean = world.denoised(x, sigma as f32)?;
        let (down, up) = ancestral_step(sigma, at.next(), self.eta);
        let x = (x + (slope(x, &clean, sigma)? * (down - sigma))?)?;
        if at.next() > 0.0 { with_noise(x, world, up) } else { Ok(x) }
    }
}
