//! Waiting for a state, with a deadline.

use std::time::{Duration, Instant};

/// Asks until `state` answers, at most 30 s: the machine may be busy with other tests.
pub async fn eventually<T>(what: &str, mut state: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + Duration::from_secs(30);
    loop {
        if let Some(value) = state() {
            return value;
        }
        assert!(Instant::now() < deadline, "timed out waiting: {what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}
