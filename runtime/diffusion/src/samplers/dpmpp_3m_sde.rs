//! DPM-Solver++(3M) SDE: k-diffusion's `sample_dpmpp_3m_sde`.

use candle_core::{Result, Tensor};

use crate::schedule::Schedule;

use super::dpmpp_2m_sde::sde_deviation;
use super::entry::{ETA, Entry};
use super::plan::Plan;
use super::walk::{Level, Solver, Walk, blend};
use super::world::World;

pub(super) static DPMPP_3M_SDE: Entry = Entry {
    aliases: &[("k_dpmpp_3m_sde", None)],
    automatic: Schedule::Exponential,
    eta: ETA,
    s_noise: true,
    discards_penultimate: true,
    brownian: true,
    ..Entry::plain("DPM++ 3M SDE", |plan| Walk::boxed(plan, Dpmpp3mSde::new(plan)))
};

/// A step of the past: its clean latent and its length in the logarithm of sigma.
type Past = (Tensor, f64);

struct Dpmpp3mSde {
    eta: f64,
    noise: f64,
    /// The last step and the one before.
    past: (Option<Past>, Option<Past>),
}

impl Dpmpp3mSde {
    fn new(plan: &Plan) -> Self {
        Self { eta: plan.eta(), noise: f64::from(plan.options.s_noise), past: (None, None) }
    }

    /// What the first and second derivative of the clean latent add over a step of length `h`.
    fn correction(&self, clean: &Tensor, h: f64, length: f64) -> Result<Option<Tensor>> {
        let phi_2 = (-length).exp_m1() / length + 1.0;
        let Some((last, h_1)) = &self.past.0 else { return Ok(None) };
        let r0 = h_1 / h;
        let change = ((clean - last)? / r0)?;
        let Some((before, h_2)) = &self.past.1 else { return Ok(Some((change * phi_2)?)) };
        let r1 = h_2 / h;
        let bend = (&change - ((last - before)? / r1)?)?;
        let phi_3 = phi_2 / length - 0.5;
        let first = (change + (&bend * (r0 / (r0 + r1)))?)?;
        Ok(Some(blend(phi_2, &first, -phi_3 / (r0 + r1), &bend)?))
    }
}

impl Solver for Dpmpp3mSde {
    const BROWNIAN: bool = true;

    fn step(&mut self, at: &Level, x: &Tensor, world: &mut dyn World) -> Result<Tensor> {
        let (sigma, next) = (at.sigma(), at.next());
        let clean = world.denoised(x, sigma as f32)?;
        if next == 0.0 {
            return Ok(clean);
        }
        let h = (sigma / next).ln();
        let length = h * (self.eta + 1.0);
        let mut out = blend((-length).exp(), x, -(-length).exp_m1(), &clean)?;
        if let Some(correction) = self.correction(&clean, h, length)? {
            out = (out + correction)?;
        }
        if self.eta > 0.0 {
            let noise = world.brownian(sigma as f32, next as f32)?;
            out = (out + (noise * sde_deviation(next, h, self.eta, self.noise))?)?;
        }
        self.past.1 = self.past.0.replace((clean, h));
        Ok(out)
    }
}
