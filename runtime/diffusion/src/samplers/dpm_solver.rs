//! DPM-Solver, Lu et al. 2022a: the steps that `dpm_fast.rs` and `dpm_adaptive.rs` are made of.
//!
//! Facts: k-diffusion's `DPMSolver`. Times are t = -ln σ; the noise in a latent is ε = (x - clean) / σ.

use candle_core::{Result, Tensor};

use super::ancestral::ancestral_step;
use super::world::World;

/// The noise level at a time.
pub(super) fn sigma(t: f64) -> f64 {
    (-t).exp()
}

/// The noise that the model sees in `x` at a time.
pub(super) fn epsilon(x: &Tensor, t: f64, world: &mut dyn World) -> Result<Tensor> {
    let clean = world.denoised(x, sigma(t) as f32)?;
    (x - clean)? / sigma(t)
}

/// A step over times, whose noise at the start is known.
pub(super) struct Stride<'a> {
    pub(super) x: &'a Tensor,
    pub(super) epsilon: &'a Tensor,
    pub(super) from: f64,
    pub(super) to: f64,
}

impl Stride<'_> {
    fn h(&self) -> f64 {
        self.to - self.from
    }

    /// x - σ(t + rh)(e^{rh} - 1)ε.
    fn first_order(&self, r: f64) -> Result<Tensor> {
        let scale = sigma(self.from + r * self.h()) * (r * self.h()).exp_m1();
        self.x - (self.epsilon * scale)?
    }

    pub(super) fn one(&self) -> Result<Tensor> {
        self.first_order(1.0)
    }

    /// The change of the noise at the share `r` of the way.
    pub(super) fn change(&self, r: f64, world: &mut dyn World) -> Result<Tensor> {
        let there = self.first_order(r)?;
        epsilon(&there, self.from + r * self.h(), world)? - self.epsilon
    }

    /// Second order, with the change of the noise at `r`.
    pub(super) fn two(&self, r: f64, change: &Tensor) -> Result<Tensor> {
        let scale = sigma(self.to) / (2.0 * r) * self.h().exp_m1();
        self.one()? - (change * scale)?
    }

    /// Third order with nodes at one and two thirds, with the change of the noise at the first.
    pub(super) fn three(&self, change: &Tensor, world: &mut dyn World) -> Result<Tensor> {
        const R1: f64 = 1.0 / 3.0;
        const R2: f64 = 2.0 / 3.0;
        let (h, middle) = (self.h(), self.from + R2 * self.h());
        let bend = |h: f64| if h == 0.0 { 0.0 } else { h.exp_m1() / h - 1.0 };
        let scale = sigma(middle) * (R2 / R1) * bend(R2 * h);
        let there = (self.first_order(R2)? - (change * scale)?)?;
        let change = (epsilon(&there, middle, world)? - self.epsilon)?;
        self.one()? - (change * (sigma(self.to) / R2 * bend(h)))?
    }
}

/// A step to `to` with a share of fresh noise: the time to solve to, not past `end`, and the noise's
/// deviation.
pub(super) fn ancestral_time(from: f64, to: f64, end: f64, eta: f64) -> (f64, f64) {
    if eta == 0.0 {
        return (to, 0.0);
    }
    let (down, _) = ancestral_step(sigma(from), sigma(to), eta);
    let solved = end.min(-down.ln());
    let (next, reached) = (sigma(to), sigma(solved));
    (solved, (next * next - reached * reached).max(0.0).sqrt())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fresh_noise_fills_up_what_the_solver_took_too_much() {
        let (solved, up) = ancestral_time(-2.0, -1.0, 3.0, 1.0);
        assert!(solved > -1.0);
        assert!((sigma(solved).powi(2) + up * up - sigma(-1.0).powi(2)).abs() < 1e-12);
        assert_eq!(ancestral_time(-2.0, 3.0, 3.0, 1.0), (3.0, 0.0));
        assert_eq!(ancestral_time(-2.0, -1.0, 3.0, 0.0), (-1.0, 0.0));
    }
}
