//! How fast the steps are, and how long the rest will take.

use std::time::{Duration, Instant};

/// Of the last steps.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Pace {
    pub steps_per_second: f64,
    pub remaining: Duration,
}

/// A mean over steps in which newer ones count more.
#[derive(Debug, Default)]
pub struct Speed {
    last: Option<Instant>,
    seconds_per_step: Option<f64>,
}

/// The share of the old mean: about the last twenty steps count.
const KEPT: f64 = 0.95;

impl Speed {
    /// A step of a run ended at `now`; `None` after the first one, which may have waited for other things.
    pub fn step(&mut self, now: Instant, left: u64) -> Option<Pace> {
        let took = self.last.replace(now).map(|last| now.duration_since(last).as_secs_f64())?;
        let mean = self.seconds_per_step.map_or(took, |mean| mean * KEPT + took * (1.0 - KEPT)).max(1e-9);
        self.seconds_per_step = Some(mean);
        let remaining = Duration::try_from_secs_f64(mean * left as f64).unwrap_or(Duration::MAX);
        Some(Pace { steps_per_second: 1.0 / mean, remaining })
    }

    /// Something else took time: the next step has no beginning.
    pub fn pause(&mut self) {
        self.last = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_do_not_count_as_steps() {
        let start = Instant::now();
        let at = |seconds: u64| start + Duration::from_secs(seconds);
        let mut speed = Speed::default();
        assert_eq!(speed.step(at(0), 9), None);
        let pace = speed.step(at(2), 8).unwrap();
        assert_eq!((pace.steps_per_second, pace.remaining), (0.5, Duration::from_secs(16)));
        speed.pause();
        assert_eq!(speed.step(at(1000), 7), None);
        let pace = speed.step(at(1002), 6).unwrap();
        assert_eq!(pace.remaining, Duration::from_secs(12));
    }
}
