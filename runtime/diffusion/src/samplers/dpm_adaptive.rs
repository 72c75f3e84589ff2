//! DPM-Solver-23 with steps as long as the error allows: k-diffusion's `sample_dpm_adaptive`.

use candle_core::{Error, Result, Tensor};

use super::ancestral::with_noise;
use super::dpm_fast::Span;
use super::dpm_solver::{Stride, ancestral_time, epsilon};
use super::entry::{ETA, Entry};
use super::plan::Plan;
use super::steps::Steps;
use super::walk::noised;
use super::world::World;

pub(super) static DPM_ADAPTIVE: Entry = Entry {
    aliases: &[("k_dpm_ad", None), ("k_dpm_adaptive", None)],
    eta: ETA,
    uses_ensd: true,
    alone: true,
    ..Entry::plain("DPM adaptive", |plan| Box::new(DpmAdaptive::new(plan)))
};

const RELATIVE: f64 = 0.05;
const ABSOLUTE: f64 = 0.0078;
const FIRST_LENGTH: f64 = 0.05;
/// An attempt that would shrink the next to less than this share is repeated.
const ACCEPT: f64 = 0.81;
/// The end counts as reached this close to it.
const CLOSE: f64 = 1e-5;
/// Attempts of a run. A trained model takes some dozens; one that has not come through by then gets an
/// error instead of an endless run.
const MAX_ATTEMPTS: usize = 2000;

struct DpmAdaptive {
    first_sigma: f32,
    at: f64,
    end: f64,
    length: f64,
    eta: f64,
    attempts: usize,
    /// The low-order estimate of the last accepted attempt: errors are relative to its size.
    last_low: Option<Tensor>,
}

impl DpmAdaptive {
    fn new(plan: &Plan) -> Self {
        let span = Span::new(plan);
        Self {
            first_sigma: span.first_sigma,
            at: span.start,
            end: span.end,
            length: FIRST_LENGTH,
            eta: plan.eta(),
            attempts: 0,
            last_low: None,
        }
    }

    /// Changes the length of the next attempt; is this one accepted? The controller is k-diffusion's with
    /// its default coefficients, which leave the integral part.
    fn propose(&mut self, error: f64) -> bool {
        let order = if self.eta > 0.0 { 1.5 } else { 3.0 };
        let factor = (1.0 / (error + 1e-8)).powf(1.0 / order);
        let factor = 1.0 + (factor - 1.0).atan();
        self.length *= factor;
        factor >= ACCEPT
    }
}

/// The root mean square of the difference in units of what is allowed.
fn error(low: &Tensor, high: &Tensor, last: &Tensor) -> Result<f64> {
    let values = |x: &Tensor| x.flatten_all()?.to_vec1::<f32>();
    let (low, high, last) = (values(low)?, values(high)?, values(last)?);
    let square = |((low, high), last): ((&f32, &f32), &f32)| {
        let allowed = ABSOLUTE.max(RELATIVE * f64::from(low.abs().max(last.abs())));
        (f64::from(low - high) / allowed).powi(2)
    };
    let sum: f64 = low.iter().zip(&high).zip(&last).map(square).sum();
    Ok((sum / low.len().max(1) as f64).sqrt())
}

impl Steps for DpmAdaptive {
    /// Attempts so far and those that are left if all are as long as the next.
    fn len(&self) -> usize {
        let left = ((self.end - self.at - CLOSE) / self.length).max(0.0).ceil() as usize;
        self.attempts + left.min(MAX_ATTEMPTS)
    }

    fn is_done(&self, _: usize) -> bool {
        self.at >= self.end - CLOSE
    }

    fn noised(&self, init: Option<&Tensor>, noise: &Tensor) -> Result<Tensor> {
        noised(init, noise, self.first_sigma)
    }

    /// One attempt; a refused one gives `x` back.
    fn step(&mut self, _: usize, x: &Tensor, world: &mut dyn World) -> Result<Tensor> {
        let from = self.at;
        let next = self.end.min(from + self.length);
        let (to, up) = ancestral_time(from, next, self.end, self.eta);
        let epsilon = epsilon(x, from, world)?;
        let stride = Stride { x, epsilon: &epsilon, from, to };
        let change = stride.change(1.0 / 3.0, world)?;
        let low = stride.two(1.0 / 3.0, &change)?;
        let high = stride.three(&change, world)?;
        let error = error(&low, &high, self.last_low.as_ref().unwrap_or(x))?;
        self.attempts += 1;
        if !error.is_finite() || self.attempts > MAX_ATTEMPTS {
            return Err(Error::Msg(format!(
                "DPM adaptive found no step after {} attempts, the last with an error of {error}; use a \
                 sampler with a fixed number of steps",
                self.attempts
            )));
        }
        if !self.propose(error) {
            return Ok(x.clone());
        }
        self.last_low = Some(low);
        self.at = next;
        with_noise(high, world, up)
    }
}
