//! How the noise of training is described: betas of several shapes, or numbers.
//!
//! Facts: `ldm/modules/diffusionmodules/util.py` (`make_beta_schedule`), diffusers' `DDPMScheduler`
//! (`beta_schedule`, `trained_betas`), A1111's `sd_models.py` (`rescale_zero_terminal_snr_abar`).

use super::table::NoiseTable;

/// More timesteps than any model has; a table of numbers from a file is cut off here.
const MAX_TIMESTEPS: usize = 10_000;
/// What A1111 sets instead of the zero at the end of a rescaled table: sigma is then 4518, not infinite.
const ALMOST_ZERO: f32 = 4.897_345_3e-8;

/// Why numbers are no table of training.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum TableError {
    #[error("a noise table of {length} timesteps; it must have 2 to {MAX_TIMESTEPS}")]
    Length { length: usize },
    #[error("beta {index} is {value}; betas are above 0 and below 1")]
    Beta { index: usize, value: f64 },
    #[error("alphas_cumprod {index} is {value}; they lie between 0 and 1 and fall with every timestep")]
    Alpha { index: usize, value: f64 },
}

impl TableError {
    /// Stable CamelCase word for statuses and metrics.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::Length { .. } | Self::Beta { .. } | Self::Alpha { .. } => "InvalidNoiseTable",
        }
    }

    /// Numbers of a file stay what they are.
    pub fn retriable(&self) -> bool {
        match self {
            Self::Length { .. } | Self::Beta { .. } | Self::Alpha { .. } => false,
        }
    }
}

impl NoiseTable {
    /// SD 1.x: betas from 0.00085 to 0.012, linear in their square root, 1000 timesteps.
    pub fn sd1() -> Self {
        Self::scaled_linear(0.00085, 0.012, 1000)
    }

    /// Betas linear in their square root; computed in f64, kept in f32.
    ///
    /// Betas must lie in 0..1 and there must be two timesteps or more, as the caller has seen.
    pub fn scaled_linear(beta_start: f64, beta_end: f64, timesteps: usize) -> Self {
        let betas = spaced(beta_start.sqrt(), beta_end.sqrt(), timesteps).map(|root| root * root);
        Self::of_alphas(products(betas))
    }

    /// Evenly spaced betas, with the same demands.
    pub fn linear(beta_start: f64, beta_end: f64, timesteps: usize) -> Self {
        Self::of_alphas(products(spaced(beta_start, beta_end, timesteps)))
    }

    /// Nichol and Dhariwal 2021: the share of the signal is a squared cosine, betas at most 0.999
    /// (diffusers' `squaredcos_cap_v2`).
    pub fn squared_cosine(timesteps: usize) -> Self {
        let signal = |i: usize| {
            let t = i as f64 / timesteps as f64;
            ((t + 0.008) / 1.008 * std::f64::consts::FRAC_PI_2).cos().powi(2)
        };
        Self::of_alphas(products((0..timesteps).map(|i| (1.0 - signal(i + 1) / signal(i)).min(0.999))))
    }

    /// Betas as numbers (diffusers' `trained_betas`).
    ///
    /// # Errors
    /// Too few or too many, or one that is not between 0 and 1.
    pub fn from_betas(betas: &[f64]) -> Result<Self, TableError> {
        length(betas.len())?;
        for (index, &value) in betas.iter().enumerate() {
            if !(value > 0.0 && value < 1.0) {
                return Err(TableError::Beta { index, value });
            }
        }
        Self::from_alphas_cumprod(&products(betas.iter().copied()))
    }

    /// The share of the signal's variance at each timestep, as checkpoints carry it.
    ///
    /// # Errors
    /// Too few or too many, out of 0..=1, or not falling.
    pub fn from_alphas_cumprod(alphas: &[f32]) -> Result<Self, TableError> {
        length(alphas.len())?;
        let mut last = f32::INFINITY;
        for (index, &alpha) in alphas.iter().enumerate() {
            // Normal numbers only, so that sigma is finite; one exactly 1 would be sigma 0.
            let sound = (f32::MIN_POSITIVE..1.0).contains(&alpha) && alpha < last;
            if !sound {
                return Err(TableError::Alpha { index, value: f64::from(alpha) });
            }
            last = alpha;
        }
        Ok(Self::of_alphas(alphas.to_vec()))
    }

    /// The table shifted and scaled so that the last timestep has (almost) no signal: Lin et al. 2023.
    #[must_use]
    pub fn zero_terminal_snr(&self) -> Self {
        let roots: Vec<f32> = self.alphas_cumprod().iter().map(|a| a.sqrt()).collect();
        let (first, last) = (roots[0], roots[roots.len() - 1]);
        let scale = first / (first - last);
        let mut alphas: Vec<f32> = roots
            .iter()
            .map(|root| {
                let moved = (root - last) * scale;
                moved * moved
            })
            .collect();
        if let Some(end) = alphas.last_mut() {
            *end = ALMOST_ZERO;
        }
        Self::of_alphas(alphas)
    }
}

fn length(length: usize) -> Result<(), TableError> {
    if (2..=MAX_TIMESTEPS).contains(&length) { Ok(()) } else { Err(TableError::Length { length }) }
}

fn spaced(start: f64, end: f64, count: usize) -> impl Iterator<Item = f64> {
    let step = (end - start) / (count.max(2) - 1) as f64;
    (0..count).map(move |i| start + step * i as f64)
}

fn products(betas: impl Iterator<Item = f64>) -> Vec<f32> {
    let mut product = 1.0_f64;
    betas
        .map(|beta| {
            product *= 1.0 - beta;
            product as f32
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rescaled_table_ends_at_the_sigma_of_the_web_ui() {
        let table = NoiseTable::sd1().zero_terminal_snr();
        assert!((table.sigma_max() - 4518.83).abs() < 0.1, "{}", table.sigma_max());
        assert!((table.sigma_min() - NoiseTable::sd1().sigma_min()).abs() < 1e-6);
    }

    #[test]
    fn numbers_that_are_no_table_are_refused() {
        let cases: &[(&[f64], &str)] = &[
            (&[0.1], "a noise table of 1 timesteps; it must have 2 to 10000"),
            (&[0.1, 0.0], "beta 1 is 0; betas are above 0 and below 1"),
            (&[f64::NAN, 0.1], "beta 0 is NaN; betas are above 0 and below 1"),
            (&[0.1, 1.0], "beta 1 is 1; betas are above 0 and below 1"),
        ];
        for (betas, want) in cases {
            assert_eq!(NoiseTable::from_betas(betas).unwrap_err().to_string(), *want);
        }
        assert!(NoiseTable::from_betas(&vec![0.01; 10_001]).is_err());
        // So many large betas that nothing is left of the signal.
        assert!(NoiseTable::from_betas(&[0.999; 1000]).is_err());
        for alphas in [[0.5_f32, 0.5], [0.5, 0.6], [1.5, 0.5], [0.5, 0.0], [f32::NAN, 0.1]] {
            assert!(NoiseTable::from_alphas_cumprod(&alphas).is_err(), "{alphas:?}");
        }
    }

    #[test]
    fn numbers_give_the_table_that_their_formula_gives() {
        let betas: Vec<f64> = spaced(0.00085, 0.012, 1000).collect();
        assert_eq!(NoiseTable::from_betas(&betas), Ok(NoiseTable::linear(0.00085, 0.012, 1000)));
        let table = NoiseTable::sd1();
        assert_eq!(NoiseTable::from_alphas_cumprod(table.alphas_cumprod()), Ok(table));
    }
}
