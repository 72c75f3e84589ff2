//! The walk down a list of noise levels, which most of k-diffusion's samplers are.

use candle_core::{Result, Tensor};

use super::plan::Plan;
use super::steps::Steps;
use super::world::World;

/// Where a step is: its level, the next, and all others.
pub(super) struct Level<'a> {
    pub(super) index: usize,
    pub(super) sigmas: &'a [f32],
}

impl Level<'_> {
    pub(super) fn sigma(&self) -> f64 {
        f64::from(self.sigmas[self.index])
    }

    pub(super) fn next(&self) -> f64 {
        f64::from(self.sigmas[self.index + 1])
    }

    /// Steps of the whole walk.
    pub(super) fn steps(&self) -> usize {
        self.sigmas.len() - 1
    }
}

/// How one level leads to the next.
pub(super) trait Solver: Send {
    /// Does it ask for Brownian noise?
    const BROWNIAN: bool = false;

    fn step(&mut self, at: &Level, x: &Tensor, world: &mut dyn World) -> Result<Tensor>;
}

/// A run of a solver.
pub(super) struct Walk<S> {
    sigmas: Vec<f32>,
    range: (f32, f32),
    solver: S,
}

impl<S: Solver + 'static> Walk<S> {
    /// The levels of the plan, with a solver.
    pub(super) fn boxed(plan: &Plan, solver: S) -> Box<dyn Steps> {
        let whole = plan.whole_sigmas();
        let range = range(&whole);
        Box::new(Self { sigmas: plan.taken(whole), range, solver })
    }
}

/// Smallest positive and largest level: A1111 spans the Brownian motion over the whole run's, wherever
/// image-to-image enters it.
fn range(whole: &[f32]) -> (f32, f32) {
    let positive = || whole.iter().copied().filter(|s| *s > 0.0);
    (positive().fold(f32::INFINITY, f32::min), positive().fold(0.0, f32::max))
}

impl<S: Solver> Steps for Walk<S> {
    fn len(&self) -> usize {
        self.sigmas.len() - 1
    }

    fn noised(&self, init: Option<&Tensor>, noise: &Tensor) -> Result<Tensor> {
        noised(init, noise, self.sigmas[0])
    }

    fn noise_range(&self) -> Option<(f32, f32)> {
        S::BROWNIAN.then_some(self.range)
    }

    fn step(&mut self, index: usize, x: &Tensor, world: &mut dyn World) -> Result<Tensor> {
        self.solver.step(&Level { index, sigmas: &self.sigmas }, x, world)
    }
}

/// init + sigma · noise.
pub(super) fn noised(init: Option<&Tensor>, noise: &Tensor, sigma: f32) -> Result<Tensor> {
    let noise = (noise * f64::from(sigma))?;
    match init {
        Some(init) => init + noise,
        None => Ok(noise),
    }
}

/// The derivative of `x` with respect to sigma.
pub(super) fn slope(x: &Tensor, denoised: &Tensor, sigma: f64) -> Result<Tensor> {
    (x - denoised)? / sigma
}

/// a·x + b·y.
pub(super) fn blend(a: f64, x: &Tensor, b: f64, y: &Tensor) -> Result<Tensor> {
    (x * a)? + (y * b)?
}
