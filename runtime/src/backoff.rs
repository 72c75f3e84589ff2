//! Waiting between tries: exponential, with jitter so that a fleet does not knock in step.

use std::time::Duration;

use crate::random;

/// Delays that double from `base` to `cap`; each is drawn from the upper half of its range.
#[derive(Debug, Clone)]
pub struct Backoff {
    base: Duration,
    cap: Duration,
    tries: u32,
}

impl Backoff {
    pub fn new(base: Duration, cap: Duration) -> Self {
        Self { base, cap, tries: 0 }
    }

    /// The next delay.
    pub fn next_delay(&mut self) -> Duration {
        let doubled = self.base.saturating_mul(2_u32.saturating_pow(self.tries.min(31)));
        self.tries = self.tries.saturating_add(1);
        doubled.min(self.cap).mul_f64(0.5 + random::fraction() / 2.0)
    }

    /// How many delays were drawn since the start or the last [`Backoff::reset`].
    pub fn tries(&self) -> u32 {
        self.tries
    }

    /// After a success.
    pub fn reset(&mut self) {
        self.tries = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delays_double_up_to_the_cap_and_start_again() {
        let mut backoff = Backoff::new(Duration::from_millis(100), Duration::from_secs(1));
        for ceiling in [100, 200, 400, 800, 1000, 1000] {
            let delay = backoff.next_delay();
            let range = Duration::from_millis(ceiling / 2)..=Duration::from_millis(ceiling);
            assert!(range.contains(&delay), "{delay:?} is not in {range:?}");
        }
        (0..100).for_each(|_| assert!(backoff.next_delay() <= Duration::from_secs(1)));
        backoff.reset();
        assert!(backoff.next_delay() <= Duration::from_millis(100));
    }
}
