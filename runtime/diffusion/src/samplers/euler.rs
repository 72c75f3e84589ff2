//! Euler's method: k-diffusion's `sample_euler`.

use candle_core::{Result, Tensor};

use super::churn::Churn;
use super::entry::Entry;
use super::walk::{Level, Solver, Walk, slope};
use super::world::World;

pub(super) static EULER: Entry = Entry {
    aliases: &[("k_euler", None), ("eulerdiscrete", None)],
    churn: true,
    s_noise: true,
    ..Entry::plain("Euler", |plan| Walk::boxed(plan, Euler(Churn::new(plan))))
};

struct Euler(Churn);

impl Solver for Euler {
    fn step(&mut self, at: &Level, x: &Tensor, world: &mut dyn World) -> Result<Tensor> {
        let (x, sigma) = self.0.apply(at, x, world)?;
        let clean = world.denoised(&x, sigma as f32)?;
        &x + (slope(&x, &clean, sigma)? * (at.next() - sigma))?
    }
}
