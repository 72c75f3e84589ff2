//! How the learning rate changes over the steps.
//!
//! Facts: diffusers' `optimization.py` (`get_scheduler` and the functions behind it).

use std::str::FromStr;

/// What the rate does after its warm-up.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub enum Decay {
    #[default]
    Constant,
    /// To zero in a line.
    Linear,
    /// To zero along half a cosine; `cycles` 0.5 is that half.
    Cosine { cycles: f64 },
    /// As many half cosines, each from the full rate.
    CosineWithRestarts { cycles: f64 },
    /// To `end` along a power.
    Polynomial { power: f64, end: f64 },
}

/// No schedule has this name.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error(
    "learning-rate schedule `{0}` is unknown: use constant, constant_with_warmup, linear, cosine, \
     cosine_with_restarts or polynomial"
)]
pub struct UnknownDecay(pub String);

impl FromStr for Decay {
    type Err = UnknownDecay;

    /// The names of diffusers, with its defaults; `-` stands for `_` too.
    fn from_str(name: &str) -> Result<Self, UnknownDecay> {
        match name.to_ascii_lowercase().replace('-', "_").as_str() {
            "constant" | "constant_with_warmup" => Ok(Self::Constant),
            "linear" => Ok(Self::Linear),
            "cosine" => Ok(Self::Cosine { cycles: 0.5 }),
            "cosine_with_restarts" => Ok(Self::CosineWithRestarts { cycles: 1.0 }),
            "polynomial" => Ok(Self::Polynomial { power: 1.0, end: 1e-7 }),
            _ => Err(UnknownDecay(name.to_owned())),
        }
    }
}

impl Decay {
    /// The name that parses back to it.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Constant => "constant",
            Self::Linear => "linear",
            Self::Cosine { .. } => "cosine",
            Self::CosineWithRestarts { .. } => "cosine_with_restarts",
            Self::Polynomial { .. } => "polynomial",
        }
    }
}

/// A rate over `total` steps, the first `warmup` of which lead up to it in a line from zero.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct LearningRate {
    pub decay: Decay,
    pub warmup: u64,
    pub total: u64,
}

impl LearningRate {
    /// The rate of the step that follows `done` finished ones, where `base` is the rate after the warm-up.
    pub fn at(&self, done: u64, base: f64) -> f64 {
        if done < self.warmup {
            return base * (done as f64 / self.warmup as f64);
        }
        let length = self.total.saturating_sub(self.warmup).max(1) as f64;
        let progress = (done - self.warmup) as f64 / length;
        let half_cosine = |turns: f64| (0.5 * (1.0 + (std::f64::consts::PI * turns).cos())).max(0.0);
        match self.decay {
            Decay::Constant => base,
            Decay::Linear => base * (self.total.saturating_sub(done) as f64 / length).max(0.0),
            Decay::Cosine { cycles } => base * half_cosine(cycles * 2.0 * progress),
            Decay::CosineWithRestarts { .. } if progress >= 1.0 => 0.0,
            Decay::CosineWithRestarts { cycles } => base * half_cosine((cycles * progress) % 1.0),
            Decay::Polynomial { end, .. } if done > self.total => end,
            Decay::Polynomial { power, end } => (base - end) * (1.0 - progress).max(0.0).powf(power) + end,
        }
    }
}
