//! Restart sampling, Xu et al. 2023: A1111's `sd_samplers_extra.restart_sampler` with its own choice of
//! restarts: from 20 steps on, the walk from level 2 to 0.1 is taken again under fresh noise.

use candle_core::{Result, Tensor};

use crate::schedule::{Schedule, karras};

use super::ancestral::with_noise;
use super::entry::Entry;
use super::heun::heun_step;
use super::plan::Plan;
use super::steps::Steps;
use super::walk::noised;
use super::world::World;

pub(super) static RESTART: Entry = Entry {
    aliases: &[("k_restart", None)],
    automatic: Schedule::Karras,
    evaluations: 2,
    ..Entry::plain("Restart", |plan| Box::new(Restart::new(plan)))
};

/// Between these levels the walk is repeated.
const FROM: f32 = 2.0;
const TO: f32 = 0.1;
const RHO: f64 = 7.0;

struct Restart {
    first_sigma: f32,
    /// Where each step begins and ends; one that begins above the end of the last has noise before it.
    steps: Vec<(f32, f32)>,
}

impl Restart {
    fn new(plan: &Plan) -> Self {
        let sigmas = plan.taken(plan.whole_sigmas());
        Self { first_sigma: sigmas[0], steps: steps(sigmas) }
    }
}

/// How many steps a repetition takes, and how many there are.
fn repetitions(steps: usize) -> (usize, usize) {
    match steps {
        0..20 => (0, 0),
        20..36 => (9, 1),
        _ => (steps / 4, 2),
    }
}

fn steps(sigmas: Vec<f32>) -> Vec<(f32, f32)> {
    let pairs = |levels: &[f32]| levels.windows(2).map(|w| (w[0], w[1])).collect::<Vec<_>>();
    let count = sigmas.len() - 1;
    let (length, times) = repetitions(count);
    if times == 0 {
        return pairs(&sigmas);
    }
    let mut levels = karras(sigmas[count - 1], sigmas[0], RHO, count - length * times);
    levels.push(0.0);
    let nearest = |wanted: f32| {
        let distance = |i: &usize| (levels[*i] - wanted).abs();
        (0..levels.len()).min_by(|a, b| distance(a).total_cmp(&distance(b))).unwrap_or(0)
    };
    let (top, bottom) = (nearest(FROM), nearest(TO));
    if bottom == 0 || top >= bottom {
        return pairs(&levels);
    }
    let again = pairs(&karras(levels[bottom], levels[top], RHO, length + 1));
    let mut steps = pairs(&levels[..=bottom]);
    for _ in 0..times {
        steps.extend(&again);
    }
    steps.extend(pairs(&levels[bottom..]));
    steps
}

impl Steps for Restart {
    fn len(&self) -> usize {
        self.steps.len()
    }

    fn noised(&self, init: Option<&Tensor>, noise: &Tensor) -> Result<Tensor> {
        noised(init, noise, self.first_sigma)
    }

    fn step(&mut self, index: usize, x: &Tensor, world: &mut dyn World) -> Result<Tensor> {
        let (sigma, next) = self.steps[index];
        let (sigma, next) = (f64::from(sigma), f64::from(next));
        let last = if index == 0 { sigma } else { f64::from(self.steps[index - 1].1) };
        let x = if last < sigma {
            with_noise(x.clone(), world, (sigma * sigma - last * last).sqrt())?
        } else {
            x.clone()
        };
        heun_step(&x, sigma, next, world)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schedule::{NoiseTable, SigmaOptions, sigmas};

    #[test]
    fn the_number_of_steps_stays_what_was_asked_for() {
        let table = NoiseTable::sd1();
        for (count, restarts) in [(10, 0), (19, 0), (20, 1), (35, 1), (36, 2), (80, 2)] {
            let all = steps(sigmas(Schedule::Karras, &table, count, &SigmaOptions::default()));
            assert_eq!(all.len(), count);
            let up = all.windows(2).filter(|w| w[1].0 > w[0].1).count();
            assert_eq!(up, restarts, "{count}");
            assert_eq!(all.last().map(|s| s.1), Some(0.0));
        }
    }
}
