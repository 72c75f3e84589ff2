//! The noise levels that the model was trained with, and the way between sigmas and timesteps.
//!
//! Facts: k-diffusion's `external.py` (`DiscreteSchedule`, not quantised, as A1111 uses it). Where the
//! numbers come from is in `training.rs`.

/// Training timesteps with their noise levels, in f32 as the reference holds them.
#[derive(Debug, Clone, PartialEq)]
pub struct NoiseTable {
    alphas_cumprod: Vec<f32>,
    sigmas: Vec<f32>,
    log_sigmas: Vec<f32>,
}

impl NoiseTable {
    /// `alphas` fall, lie between 0 and 1, and are two or more.
    pub(crate) fn of_alphas(alphas_cumprod: Vec<f32>) -> Self {
        let sigmas: Vec<f32> = alphas_cumprod.iter().map(|a| ((1.0 - a) / a).sqrt()).collect();
        let log_sigmas = sigmas.iter().map(|s| s.ln()).collect();
        Self { alphas_cumprod, sigmas, log_sigmas }
    }

    /// The noise level of each timestep, rising.
    pub fn sigmas(&self) -> &[f32] {
        &self.sigmas
    }

    /// Share of the signal's variance that is left at each timestep.
    pub fn alphas_cumprod(&self) -> &[f32] {
        &self.alphas_cumprod
    }

    /// The smallest noise level of training.
    pub fn sigma_min(&self) -> f32 {
        self.sigmas[0]
    }

    /// The largest noise level of training.
    pub fn sigma_max(&self) -> f32 {
        self.sigmas[self.sigmas.len() - 1]
    }

    /// The last timestep.
    pub fn t_max(&self) -> f32 {
        (self.sigmas.len() - 1) as f32
    }

    /// The noise level of a timestep, fractional ones interpolated in the logarithm.
    pub fn sigma_at(&self, t: f32) -> f32 {
        let t = t.clamp(0.0, self.t_max());
        let (low, high) = (t.floor() as usize, t.ceil() as usize);
        let w = t - t.floor();
        ((1.0 - w) * self.log_sigmas[low] + w * self.log_sigmas[high]).exp()
    }

    /// The timestep of a noise level; levels outside of training get the first or the last.
    pub fn timestep_of(&self, sigma: f32) -> f32 {
        let log_sigma = sigma.ln();
        let above = self.log_sigmas.partition_point(|l| *l <= log_sigma);
        let low = above.saturating_sub(1).min(self.log_sigmas.len() - 2);
        let (a, b) = (self.log_sigmas[low], self.log_sigmas[low + 1]);
        let w = ((a - log_sigma) / (a - b)).clamp(0.0, 1.0);
        (1.0 - w) * low as f32 + w * (low + 1) as f32
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timesteps_and_sigmas_are_inverse() {
        let table = NoiseTable::sd1();
        for t in [0.0_f32, 0.25, 1.0, 499.5, 736.123, 998.9, 999.0] {
            assert!((table.timestep_of(table.sigma_at(t)) - t).abs() < 2e-3, "{t}");
        }
        assert_eq!(table.timestep_of(100.0), 999.0);
        assert_eq!(table.timestep_of(0.001), 0.0);
    }

    #[test]
    fn the_ends_are_those_that_every_paper_on_sd_names() {
        let table = NoiseTable::sd1();
        assert!((table.sigma_min() - 0.0292).abs() < 1e-4);
        assert!((table.sigma_max() - 14.6146).abs() < 1e-4);
    }
}
