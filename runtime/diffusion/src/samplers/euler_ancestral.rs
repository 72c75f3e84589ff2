//! Euler's method with fresh noise: k-diffusion's `sample_euler_ancestral`.

use candle_core::{Result, Tensor};

use crate::schedule::Schedule;

use super::sampler::{Entry, Plan, Steps, World, slope};

pub(super) static EULER_ANCESTRAL: Entry = Entry {
    name: "Euler a",
    aliases: &[
        ("k_euler_a", None),
        ("k_euler_ancestral", None),
        ("euler ancestral", None),
        ("eulerancestraldiscretescheduler", None),
        ("eulerancestraldiscrete", None),
    ],
    automatic: Schedule::Uniform,
    uses_schedule: true,
    eta: Some((1.0, "Eta")),
    min_steps: 1,
    build: |plan| Box::new(EulerAncestral::new(plan)),
};

struct EulerAncestral {
    sigmas: Vec<f32>,
    eta: f32,
}

impl EulerAncestral {
    fn new(plan: &Plan) -> Self {
        Self { sigmas: plan.sigmas(), eta: plan.eta }
    }
}

/// Splits a step into a deterministic part down to `down` and noise of deviation `up`.
pub(super) fn ancestral_step(from: f32, to: f32, eta: f32) -> (f32, f32) {
    if eta == 0.0 {
        return (to, 0.0);
    }
    let variance = to * to * (from * from - to * to) / (from * from);
    let up = to.min(eta * variance.sqrt());
    ((to * to - up * up).sqrt(), up)
}

impl Steps for EulerAncestral {
    fn len(&self) -> usize {
        self.sigmas.len() - 1
    }

    fn initial_scale(&self) -> f32 {
        self.sigmas[0]
    }

    fn step(&mut self, index: usize, x: &Tensor, world: &mut dyn World) -> Result<Tensor> {
        let (sigma, next) = (self.sigmas[index], self.sigmas[index + 1]);
        let clean = world.denoised(x, sigma)?;
        let (down, up) = ancestral_step(sigma, next, self.eta);
        let x = (x + (slope(x, &clean, sigma)? * f64::from(down - sigma))?)?;
        if next > 0.0 { x + (world.noise()? * f64::from(up))? } else { Ok(x) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_step_keeps_the_variance_and_ends_clean() {
        for (from, to) in [(14.6, 10.0), (1.0, 0.5), (0.1, 0.03)] {
            let (down, up) = ancestral_step(from, to, 1.0);
            assert!((down * down + up * up - to * to).abs() < 1e-4 * to * to, "{from} {to}");
        }
        assert_eq!(ancestral_step(0.03, 0.0, 1.0), (0.0, 0.0));
        assert_eq!(ancestral_step(2.0, 1.0, 0.0), (1.0, 0.0));
    }
}
