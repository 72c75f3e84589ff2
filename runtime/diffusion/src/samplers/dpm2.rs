//! DPM-Solver-2 as in Karras' algorithm 2: k-diffusion's `sample_dpm_2`.

use candle_core::{Result, Tensor};

use crate::schedule::Schedule;

use super::churn::Churn;
use super::entry::Entry;
use super::walk::{Level, Solver, Walk, slope};
use super::world::World;

pub(super) static DPM2: Entry = Entry {
    aliases: &[("k_dpm_2", None), ("kdpm2discrete", None)],
    automatic: Schedule::Karras,
    churn: true,
    s_noise: true,
    discards_penultimate: true,
    evaluations: 2,
    ..Entry::plain("DPM2", |plan| Walk::boxed(plan, Dpm2(Churn::new(plan))))
};

struct Dpm2(Churn);

impl Solver for Dpm2 {
    fn step(&mut self, at: &Level, x: &Tensor, world: &mut dyn World) -> Result<Tensor> {
        let (x, sigma) = self.0.apply(at, x, world)?;
        midpoint_step(&x, sigma, at.next(), world)
    }
}

/// A step of the slope in its middle (of the logarithm of sigma); a step to zero is Euler's.
pub(super) fn midpoint_step(x: &Tensor, sigma: f64, next: f64, world: &mut dyn World) -> Result<Tensor> {
    let clean = world.denoised(x, sigma as f32)?;
    let first = slope(x, &clean, sigma)?;
    if next == 0.0 {
        return x + (first * (next - sigma))?;
    }
    let middle = (sigma * next).sqrt();
    let between = (x + (first * (middle - sigma))?)?;
    let clean = world.denoised(&between, middle as f32)?;
    x + (slope(&between, &clean, middle)? * (next - sigma))?
}
