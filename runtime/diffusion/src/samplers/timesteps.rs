//! What the samplers share that walk down timesteps in latents of unit variance.
//!
//! Facts: A1111's `sd_samplers_timesteps.py` (`CompVisSampler`).

use candle_core::{Result, Tensor};

use crate::schedule::NoiseTable;

use super::plan::Plan;

/// The timesteps of a run, rising; steps go from the last to the first.
pub(super) struct Timesteps {
    pub(super) taken: Vec<usize>,
    /// Share of the signal's variance at each of them.
    pub(super) alphas: Vec<f64>,
    /// That at the timestep of the initial noise; `None` for pure noise.
    first_alpha: Option<f64>,
}

impl Timesteps {
    /// For image-to-image the picture is noised to timestep `t_enc` and the walk begins one below.
    pub(super) fn new(plan: &Plan) -> Self {
        let steps = plan.whole_steps() + usize::from(plan.options.discard_penultimate);
        let mut taken = uniform(plan.table, steps);
        let alpha = |t: usize| f64::from(plan.table.alphas_cumprod()[t]);
        let mut first_alpha = None;
        if let Some(start) = plan.start {
            let t_enc = start.t_enc.min(taken.len() - 1);
            first_alpha = Some(alpha(taken[t_enc]));
            taken.truncate(t_enc);
        }
        let alphas = taken.iter().map(|t| alpha(*t)).collect();
        Self { taken, alphas, first_alpha }
    }

    /// √ᾱ · init + √(1 - ᾱ) · noise.
    pub(super) fn noised(&self, init: Option<&Tensor>, noise: &Tensor) -> Result<Tensor> {
        noised(init, noise, self.first_alpha)
    }
}

/// The latent of a picture at a level; noise as it is where the run begins with pure noise.
pub(super) fn noised(init: Option<&Tensor>, noise: &Tensor, alpha: Option<f64>) -> Result<Tensor> {
    let Some(alpha) = alpha else {
        return match init {
            Some(init) => init + noise,
            None => Ok(noise.clone()),
        };
    };
    let noise = (noise * (1.0 - alpha).sqrt())?;
    match init {
        Some(init) => (init * alpha.sqrt())? + noise,
        None => Ok(noise),
    }
}

/// Every `1000 / steps`-th timestep, plus one. Where that does not divide there is one more than asked for.
fn uniform(table: &NoiseTable, steps: usize) -> Vec<usize> {
    let count = table.alphas_cumprod().len();
    let stride = (count / steps.max(1)).max(1);
    (0..count).step_by(stride).map(|t| (t + 1).min(count - 1)).collect()
}

/// The clean latent in `x` of unit variance, given the noise in it.
pub(super) fn clean(x: &Tensor, epsilon: &Tensor, alpha: f64) -> Result<Tensor> {
    (x - (epsilon * (1.0 - alpha).sqrt())?)? / alpha.sqrt()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timesteps_are_uniform_with_an_offset_of_one() {
        let table = NoiseTable::sd1();
        let t = uniform(&table, 20);
        assert_eq!((t.len(), t[0], t[1], t[19]), (20, 1, 51, 951));
        // 1000 / 30 is 33, so there is one more than asked for.
        let t = uniform(&table, 30);
        assert_eq!((t.len(), t[30]), (31, 991));
        assert_eq!(uniform(&table, 1), [1]);
        assert_eq!(uniform(&table, 5000).len(), 1000);
    }
}
