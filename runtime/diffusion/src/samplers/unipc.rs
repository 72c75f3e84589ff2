//! UniPC, Zhao et al. 2023: A1111's `sd_samplers_timesteps_impl.unipc` with its settings' defaults: B₁(h),
//! order three, lower orders at the end, steps even in time.
//!
//! Times run from 1/1000 (the first timestep) to 1; λ is half the logarithm of the signal-to-noise ratio.

use candle_core::{Result, Tensor};

use super::entry::Entry;
use super::plan::Plan;
use super::steps::Steps;
use super::timesteps::{Timesteps, clean};
use super::walk::blend;
use super::world::World;

pub(super) static UNIPC: Entry = Entry {
    aliases: &[("k_unipc", None), ("unipcmultistep", None)],
    uses_schedule: false,
    ..Entry::plain("UniPC", |plan| Box::new(UniPc::new(plan)))
};

const ORDER: usize = 3;

struct UniPc {
    start: Timesteps,
    levels: Vec<Level>,
    order: usize,
    /// Clean latents of the levels before with their λ, the latest last.
    past: Vec<(Tensor, f64)>,
}

/// A time of the run.
struct Level {
    timestep: f32,
    alpha_cumprod: f64,
}

impl Level {
    /// The level at a time, interpolated in the logarithm of the signal's share.
    fn at(time: f32, alphas: &[f32]) -> Self {
        let count = alphas.len() as f32;
        let timestep = (time - 1.0 / count) * count;
        let position = f64::from(timestep).clamp(0.0, f64::from(count) - 1.0);
        let low = (position as usize).min(alphas.len() - 2);
        let log = |i: usize| f64::from(alphas[i]).ln();
        let alpha_cumprod = (log(low) + (log(low + 1) - log(low)) * (position - low as f64)).exp();
        Self { timestep, alpha_cumprod }
    }

    fn signal(&self) -> f64 {
        self.alpha_cumprod.sqrt()
    }

    fn noise(&self) -> f64 {
        (1.0 - self.alpha_cumprod).sqrt()
    }

    fn lambda(&self) -> f64 {
        (self.signal() / self.noise()).ln()
    }
}

impl UniPc {
    fn new(plan: &Plan) -> Self {
        let start = Timesteps::new(plan);
        let alphas = plan.table.alphas_cumprod();
        let steps = start.taken.len();
        let count = alphas.len() as f32;
        let first = match (plan.start, start.taken.last()) {
            (Some(_), Some(t)) => *t as f32 / count + 1.0 / count,
            _ => 1.0,
        };
        let last = 1.0 / count;
        let levels = (0..=steps)
            .map(|i| first + (last - first) * i as f32 / steps.max(1) as f32)
            .map(|time| Level::at(time, alphas))
            .collect();
        Self { start, levels, order: ORDER.min(steps), past: Vec::new() }
    }

    fn predict(&self, x: &Tensor, level: &Level, world: &mut dyn World) -> Result<(Tensor, f64)> {
        let epsilon = world.epsilon(x, level.timestep)?;
        Ok((clean(x, &epsilon, level.alpha_cumprod)?, level.lambda()))
    }

    /// Low orders while the past is short and, so that the last steps do not overshoot, at the end.
    fn order_of(&self, target: usize) -> usize {
        if target < self.order { target } else { self.order.min(self.levels.len() - target) }
    }
}

impl Steps for UniPc {
    fn len(&self) -> usize {
        self.levels.len() - 1
    }

    fn noised(&self, init: Option<&Tensor>, noise: &Tensor) -> Result<Tensor> {
        self.start.noised(init, noise)
    }

    fn step(&mut self, index: usize, x: &Tensor, world: &mut dyn World) -> Result<Tensor> {
        if self.past.is_empty() {
            let first = self.predict(x, &self.levels[index], world)?;
            self.past.push(first);
        }
        let (from, to) = (&self.levels[index], &self.levels[index + 1]);
        let update = Update::new(from, to, &self.past, self.order_of(index + 1))?;
        let base = update.base(x, from, to)?;
        let predicted = update.corrected(&base, to, &update.predictor())?;
        if index + 1 == self.len() {
            // The model is not asked at the end.
            return Ok(predicted);
        }
        let (there, lambda) = self.predict(&predicted, to, world)?;
        let (weights, of_there) = update.corrector();
        let corrected = update.corrected(&base, to, &weights)?;
        let change = (&there - &update.latest)?;
        let x = (corrected - (change * (to.signal() * update.hh * of_there))?)?;
        self.past.push((there, lambda));
        if self.past.len() > self.order {
            self.past.remove(0);
        }
        Ok(x)
    }
}

/// A step of one order.
struct Update {
    /// -h, with h the step in λ; also B₁.
    hh: f64,
    latest: Tensor,
    /// Places of the past in units of the step, and the changes of the clean latent per unit.
    nodes: Vec<f64>,
    slopes: Vec<Tensor>,
    /// The right-hand side of the conditions of order.
    moments: Vec<f64>,
}

impl Update {
    fn new(from: &Level, to: &Level, past: &[(Tensor, f64)], order: usize) -> Result<Self> {
        let h = to.lambda() - from.lambda();
        let mut rest = past.iter().rev();
        let (latest, lambda) = rest.next().expect("the first step puts the start's latent into the past");
        let mut nodes = Vec::new();
        let mut slopes = Vec::new();
        for (clean, before) in rest.take(order - 1) {
            let node = (before - lambda) / h;
            slopes.push(((clean - latest)? / node)?);
            nodes.push(node);
        }
        let hh = -h;
        let mut moments = Vec::new();
        let (mut phi, mut factorial) = (hh.exp_m1() / hh - 1.0, 1.0);
        for i in 1..=order {
            moments.push(phi * factorial / hh);
            factorial *= (i + 1) as f64;
            phi = phi / hh - 1.0 / factorial;
        }
        Ok(Self { hh, latest: latest.clone(), nodes, slopes, moments })
    }

    /// The step of first order.
    fn base(&self, x: &Tensor, from: &Level, to: &Level) -> Result<Tensor> {
        blend(to.noise() / from.noise(), x, -to.signal() * self.hh.exp_m1(), &self.latest)
    }

    /// Weights of the slopes before the model is asked at the target; for one slope Zhao et al. take 1/2.
    fn predictor(&self) -> Vec<f64> {
        match self.nodes.len() {
            0 => Vec::new(),
            1 => vec![0.5],
            n => solve(&self.nodes, &self.moments[..n]),
        }
    }

    /// Weights of the slopes, and of the change that the model saw at the target.
    fn corrector(&self) -> (Vec<f64>, f64) {
        if self.nodes.is_empty() {
            return (Vec::new(), 0.5);
        }
        let mut nodes = self.nodes.clone();
        nodes.push(1.0);
        let mut weights = solve(&nodes, &self.moments);
        let last = weights.pop().unwrap_or(0.5);
        (weights, last)
    }

    fn corrected(&self, base: &Tensor, to: &Level, weights: &[f64]) -> Result<Tensor> {
        let mut x = base.clone();
        for (slope, weight) in self.slopes.iter().zip(weights) {
            x = (x - (slope * (to.signal() * self.hh * weight))?)?;
        }
        Ok(x)
    }
}

/// Weights whose powers of the nodes, 0 and up, sum to the moments: two or three of them, by elimination.
fn solve(nodes: &[f64], moments: &[f64]) -> Vec<f64> {
    let n = nodes.len();
    let mut rows: Vec<Vec<f64>> = (0..n)
        .map(|power| nodes.iter().map(|r| r.powi(power as i32)).chain([moments[power]]).collect())
        .collect();
    for pivot in 0..n {
        let row = rows[pivot].clone();
        for (i, other) in rows.iter_mut().enumerate() {
            if i != pivot {
                let factor = other[pivot] / row[pivot];
                other.iter_mut().zip(&row).for_each(|(o, r)| *o -= factor * r);
            }
        }
    }
    (0..n).map(|i| rows[i][n] / rows[i][i]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn weights_solve_their_conditions() {
        let (nodes, moments) = ([-0.9, -2.1, 1.0], [0.3, 0.2, 0.1]);
        let weights = solve(&nodes, &moments);
        for (power, want) in moments.into_iter().enumerate() {
            let sum: f64 = nodes.iter().zip(&weights).map(|(r, w)| w * r.powi(power as i32)).sum();
            assert!((sum - want).abs() < 1e-12, "{power}");
        }
    }
}
