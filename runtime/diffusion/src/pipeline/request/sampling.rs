//! What a request says about noise and the sampler's own knobs.

/// A second seed mixed into the first noise.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Variation {
    /// Picture `i` of the batch has this plus `i`.
    pub seed: u64,
    /// From 0, the picture's own seed alone, to 1, this one alone.
    pub strength: f32,
}

/// Extra noise in the middle of the way, as Karras et al. 2022 have it; Euler, Heun and DPM2 know it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Churn {
    /// 0 adds none.
    pub s_churn: f32,
    pub s_tmin: f32,
    /// Infinite: no upper limit.
    pub s_tmax: f32,
    /// Multiplies all noise that samplers add.
    pub s_noise: f32,
}

impl Default for Churn {
    fn default() -> Self {
        Self { s_churn: 0.0, s_tmin: 0.0, s_tmax: f32::INFINITY, s_noise: 1.0 }
    }
}
