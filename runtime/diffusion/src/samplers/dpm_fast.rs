//! DPM-Solver-fast: k-diffusion's `sample_dpm_fast`.
//!
//! Every evaluation of the model counts as a step of the request; up to three make one step here.

use candle_core::{Result, Tensor};

use super::ancestral::with_noise;
use super::dpm_solver::{Stride, ancestral_time, epsilon};
use super::entry::{ETA, Entry};
use super::plan::Plan;
use super::steps::Steps;
use super::walk::noised;
use super::world::World;

pub(super) static DPM_FAST: Entry = Entry {
    aliases: &[("k_dpm_fast", None)],
    eta: ETA,
    s_noise: true,
    uses_ensd: true,
    ..Entry::plain("DPM fast", |plan| Box::new(DpmFast::new(plan)))
};

struct DpmFast {
    first_sigma: f32,
    times: Vec<f64>,
    orders: Vec<u8>,
    eta: f64,
    noise: f64,
}

impl DpmFast {
    fn new(plan: &Plan) -> Self {
        let span = Span::new(plan);
        let orders = orders(span.steps);
        let (start, end) = (span.start, span.end);
        let length = (end - start) / orders.len() as f64;
        let times = (0..=orders.len())
            .map(|i| if i == orders.len() { end } else { start + length * i as f64 })
            .collect();
        Self {
            first_sigma: span.first_sigma,
            times,
            orders,
            eta: plan.eta(),
            noise: f64::from(plan.options.s_noise),
        }
    }
}

/// The times between which the solver chooses its own.
pub(super) struct Span {
    /// The level of the initial noise.
    pub(super) first_sigma: f32,
    pub(super) steps: usize,
    pub(super) start: f64,
    pub(super) end: f64,
}

impl Span {
    /// The levels of training; for image-to-image the first and the last but zero of the schedule.
    pub(super) fn new(plan: &Plan) -> Self {
        let sigmas = plan.taken(plan.whole_sigmas());
        let steps = sigmas.len().saturating_sub(1);
        let time = |sigma: f32| -f64::from(sigma.ln());
        let (max, min) = match plan.start {
            None => (plan.table.sigma_max(), plan.table.sigma_min()),
            Some(_) => (sigmas[0], sigmas[steps.saturating_sub(1)]),
        };
        let steps = if plan.start.is_none() { plan.steps } else { steps };
        Self { first_sigma: sigmas[0], steps, start: time(max), end: time(min) }
    }
}

/// The orders of the steps: threes, and what is left at the end.
fn orders(evaluations: usize) -> Vec<u8> {
    let threes = evaluations / 3;
    match evaluations % 3 {
        0 => [vec![3; threes.saturating_sub(1)], vec![2, 1]].concat(),
        rest => [vec![3; threes], vec![rest as u8]].concat(),
    }
}

impl Steps for DpmFast {
    fn len(&self) -> usize {
        self.orders.len()
    }

    fn noised(&self, init: Option<&Tensor>, noise: &Tensor) -> Result<Tensor> {
        noised(init, noise, self.first_sigma)
    }

    fn step(&mut self, index: usize, x: &Tensor, world: &mut dyn World) -> Result<Tensor> {
        let (from, end) = (self.times[index], self.times[self.orders.len()]);
        let (to, up) = ancestral_time(from, self.times[index + 1], end, self.eta);
        let epsilon = epsilon(x, from, world)?;
        let stride = Stride { x, epsilon: &epsilon, from, to };
        let next = match self.orders[index] {
            1 => stride.one()?,
            2 => {
                let change = stride.change(0.5, world)?;
                stride.two(0.5, &change)?
            }
            _ => {
                let change = stride.change(1.0 / 3.0, world)?;
                stride.three(&change, world)?
            }
        };
        with_noise(next, world, up * self.noise)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn orders_add_up_to_the_evaluations() {
        assert_eq!(orders(1), [1]);
        assert_eq!(orders(2), [2]);
        assert_eq!(orders(3), [2, 1]);
        assert_eq!(orders(7), [3, 3, 1]);
        for n in 1..=150 {
            assert_eq!(orders(n).iter().map(|o| usize::from(*o)).sum::<usize>(), n);
        }
    }
}
