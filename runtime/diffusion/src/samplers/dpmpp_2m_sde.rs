//! DPM-Solver++(2M) SDE, midpoint and Heun: k-diffusion's `sample_dpmpp_2m_sde`.

use candle_core::{Result, Tensor};

use crate::schedule::Schedule;

use super::entry::{ETA, Entry};
use super::plan::Plan;
use super::walk::{Level, Solver, Walk, blend};
use super::world::World;

pub(super) static DPMPP_2M_SDE: Entry = Entry {
    aliases: &[("k_dpmpp_2m_sde", None)],
    ..entry("DPM++ 2M SDE", |plan| Walk::boxed(plan, Dpmpp2mSde::new(plan, Correction::Midpoint)))
};

pub(super) static DPMPP_2M_SDE_HEUN: Entry = Entry {
    aliases: &[("k_dpmpp_2m_sde_heun", None)],
    ..entry("DPM++ 2M SDE Heun", |plan| Walk::boxed(plan, Dpmpp2mSde::new(plan, Correction::Heun)))
};

const fn entry(name: &'static str, build: fn(&Plan) -> Box<dyn super::steps::Steps>) -> Entry {
    Entry {
        automatic: Schedule::Exponential,
        eta: ETA,
        s_noise: true,
        brownian: true,
        ..Entry::plain(name, build)
    }
}

/// How the change of the clean latent since the last step counts.
enum Correction {
    Midpoint,
    Heun,
}

struct Dpmpp2mSde {
    eta: f64,
    noise: f64,
    correction: Correction,
    /// The clean latent of the step before, and that step's length in the logarithm of sigma.
    last: Option<(Tensor, f64)>,
}

impl Dpmpp2mSde {
    fn new(plan: &Plan, correction: Correction) -> Self {
        Self { eta: plan.eta(), noise: f64::from(plan.options.s_noise), correction, last: None }
    }
}

impl Solver for Dpmpp2mSde {
    const BROWNIAN: bool = true;

    fn step(&mut self, at: &Level, x: &Tensor, world: &mut dyn World) -> Result<Tensor> {
        let (sigma, next) = (at.sigma(), at.next());
        let clean = world.denoised(x, sigma as f32)?;
        if next == 0.0 {
            return Ok(clean);
        }
        let h = (sigma / next).ln();
        let length = h + self.eta * h;
        let towards = -(-length).exp_m1();
        let mut out = blend(next / sigma * (-self.eta * h).exp(), x, towards, &clean)?;
        if let Some((last, h_last)) = &self.last {
            let share = match self.correction {
                Correction::Midpoint => 0.5 * towards,
                Correction::Heun => 1.0 - towards / length,
            };
            out = (out + ((&clean - last)? * (share * h / h_last))?)?;
        }
        if self.eta > 0.0 {
            let noise = world.brownian(sigma as f32, next as f32)?;
            out = (out + (noise * sde_deviation(next, h, self.eta, self.noise))?)?;
        }
        self.last = Some((clean, h));
        Ok(out)
    }
}

/// The deviation of the noise that a step of length `h` down to `next` adds.
pub(super) fn sde_deviation(next: f64, h: f64, eta: f64, s_noise: f64) -> f64 {
    next * (-(-2.0 * eta * h).exp_m1()).sqrt() * s_noise
}
