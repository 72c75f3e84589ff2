//! The average of a variable over the steps.
//!
//! Facts: diffusers' `training_utils.py` (`EMAModel.get_decay`, `EMAModel.step`).

/// How slowly the average follows; the defaults are those of diffusers.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct EmaOptions {
    /// Largest share of the old average, 0 to 1.
    pub decay: f64,
    pub min_decay: f64,
    /// Steps before the average begins; until then it is the variable.
    pub update_after_step: u64,
    /// Gamma and power of the warm-up by a power law; `None`: (1 + n) / (10 + n).
    pub warmup: Option<(f64, f64)>,
}

impl Default for EmaOptions {
    fn default() -> Self {
        Self { decay: 0.9999, min_decay: 0.0, update_after_step: 0, warmup: None }
    }
}

impl EmaOptions {
    /// The share of the old average after step number `step`, counted from 1.
    pub fn decay_at(&self, step: u64) -> f64 {
        let n = step.saturating_sub(self.update_after_step.saturating_add(1)) as f64;
        if n <= 0.0 {
            return 0.0;
        }
        let decay = match self.warmup {
            Some((gamma, power)) => 1.0 - (1.0 + n / gamma).powf(-power),
            None => (1.0 + n) / (10.0 + n),
        };
        decay.min(self.decay).max(self.min_decay)
    }

    /// Moves `average` towards `values` after step number `step`.
    pub fn update(&self, step: u64, average: &mut [f32], values: &[f32]) {
        let share = (1.0 - self.decay_at(step)) as f32;
        for (average, value) in average.iter_mut().zip(values) {
            *average -= share * (*average - value);
        }
    }
}
