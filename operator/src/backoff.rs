//! How long to wait after a failure: longer each time, with jitter, per object.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// The first wait. Below this a failing object spins; above it a conflict is noticeable.
const FIRST: Duration = Duration::from_secs(1);
/// The longest wait between two attempts.
const LONGEST: Duration = Duration::from_secs(300);
/// A record that was not touched this long belongs to an object that is gone or well.
const FORGET_AFTER: Duration = Duration::from_secs(3600);

/// Failures in a row, by object.
#[derive(Debug, Default)]
pub struct Backoff {
    failures: Mutex<HashMap<String, (u32, Instant)>>,
}

impl Backoff {
    /// Counts a failure of `key` at `now`; the wait before its next attempt, without jitter.
    pub fn failed(&self, key: &str, now: Instant) -> Duration {
        let mut failures = self.failures.lock().unwrap_or_else(PoisonError::into_inner);
        failures.retain(|_, (_, at)| now.saturating_duration_since(*at) < FORGET_AFTER);
        let (count, at) = failures.entry(key.to_owned()).or_insert((0, now));
        *count = count.saturating_add(1);
        *at = now;
        wait(*count)
    }

    /// `key` is well again.
    pub fn succeeded(&self, key: &str) {
        self.failures.lock().unwrap_or_else(PoisonError::into_inner).remove(key);
    }
}

fn wait(failures: u32) -> Duration {
    doubled(FIRST, LONGEST, failures)
}

/// `first`, doubled with each time from the second on, up to `longest`.
pub fn doubled(first: Duration, longest: Duration, time: u32) -> Duration {
    first.saturating_mul(2u32.saturating_pow(time.saturating_sub(1))).min(longest)
}

/// `duration` plus up to a fifth of it, so that objects that failed together do not return together.
pub fn jittered(duration: Duration) -> Duration {
    duration.mul_f64(rand::random_range(1.0..1.2))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_a_limit_and_start_over() {
        let backoff = Backoff::default();
        let now = Instant::now();
        let waits: Vec<u64> = (0..11).map(|_| backoff.failed("a", now).as_secs()).collect();
        assert_eq!(waits, [1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300]);
        assert_eq!(backoff.failed("b", now).as_secs(), 1, "objects do not share");
        backoff.succeeded("a");
        assert_eq!(backoff.failed("a", now).as_secs(), 1);
    }

    #[test]
    fn records_of_vanished_objects_do_not_pile_up() {
        let backoff = Backoff::default();
        let now = Instant::now();
        backoff.failed("gone", now);
        backoff.failed("other", now + FORGET_AFTER);
        assert_eq!(backoff.failures.lock().unwrap().len(), 1);
    }
}
