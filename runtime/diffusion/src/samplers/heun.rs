//! Heun's method: k-diffusion's `sample_heun`.

use candle_core::{Result, Tensor};

use super::churn::Churn;
use super::entry::Entry;
use super::walk::{Level, Solver, Walk, slope};
use super::world::World;

pub(super) static HEUN: Entry = Entry {
    aliases: &[("k_heun", None), ("heundiscrete", None)],
    churn: true,
    s_noise: true,
    evaluations: 2,
    ..Entry::plain("Heun", |plan| Walk::boxed(plan, Heun(Churn::new(plan))))
};

struct Heun(Churn);

impl Solver for Heun {
    fn step(&mut self, at: &Level, x: &Tensor, world: &mut dyn World) -> Result<Tensor> {
        let (x, sigma) = self.0.apply(at, x, world)?;
        heun_step(&x, sigma, at.next(), world)
    }
}

/// A step of the mean slope of both ends; a step to zero, where there is no slope, is Euler's.
pub(super) fn heun_step(x: &Tensor, sigma: f64, next: f64, world: &mut dyn World) -> Result<Tensor> {
    let clean = world.denoised(x, sigma as f32)?;
    let first = slope(x, &clean, sigma)?;
    let euler = (x + (&first * (next - sigma))?)?;
    if next == 0.0 {
        return Ok(euler);
    }
    let clean = world.denoised(&euler, next as f32)?;
    let second = slope(&euler, &clean, next)?;
    x + ((first + second)? * (0.5 * (next - sigma)))?
}
