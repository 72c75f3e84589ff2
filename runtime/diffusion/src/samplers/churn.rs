//! Noise that is added before a step and removed with it: Karras et al. 2022, algorithm 2.

use candle_core::{Result, Tensor};

use super::plan::Plan;
use super::walk::Level;
use super::world::World;

/// The settings of a run.
#[derive(Debug, Clone, Copy)]
pub(super) struct Churn {
    churn: f64,
    between: (f64, f64),
    noise: f64,
}

impl Churn {
    pub(super) fn new(plan: &Plan) -> Self {
        let o = &plan.options;
        Self {
            churn: f64::from(o.s_churn),
            between: (f64::from(o.s_tmin), f64::from(o.s_tmax)),
            noise: f64::from(o.s_noise),
        }
    }

    /// The latent with its extra noise, and the level that it is at then.
    pub(super) fn apply(&self, at: &Level, x: &Tensor, world: &mut dyn World) -> Result<(Tensor, f64)> {
        let sigma = at.sigma();
        if self.churn <= 0.0 {
            return Ok((x.clone(), sigma));
        }
        // k-diffusion draws at every step, so that the bounds do not change later noise.
        let noise = world.noise()?;
        if sigma < self.between.0 || sigma > self.between.1 {
            return Ok((x.clone(), sigma));
        }
        let gamma = (self.churn / at.steps() as f64).min(std::f64::consts::SQRT_2 - 1.0);
        let raised = sigma * (gamma + 1.0);
        let deviation = (raised * raised - sigma * sigma).sqrt() * self.noise;
        Ok(((x + (noise * deviation)?)?, raised))
    }
}
