//! Waiting for a state, with a deadline and the last thing that was seen.

use std::fmt::Debug;
use std::future::Future;
use std::time::{Duration, Instant};

/// Between two looks.
const POLL: Duration = Duration::from_millis(100);

/// What one look found.
pub enum Seen<T> {
    Done(T),
    /// Not there so far; the text is printed when time runs out.
    Waiting(String),
}

/// Looks until `look` is done, at most `seconds`.
///
/// # Panics
/// When time runs out, naming what was waited for and what was seen last.
pub async fn until<T, F, Fut>(what: &str, seconds: u64, mut look: F) -> T
where
    F: FnMut() -> Fut,
    Fut: Future<Output = anyhow::Result<Seen<T>>>,
{
    let deadline = Instant::now() + Duration::from_secs(seconds);
    loop {
        let last = match look().await {
            Ok(Seen::Done(value)) => return value,
            Ok(Seen::Waiting(seen)) => seen,
            Err(error) => format!("{error:#}"),
        };
        assert!(Instant::now() < deadline, "waited {seconds} s for {what}; last seen: {last}");
        tokio::time::sleep(POLL).await;
    }
}

/// `Done` when the condition holds, else `Waiting` with the debug form of what was seen.
pub fn when<T: Debug>(value: T, holds: impl Fn(&T) -> bool) -> anyhow::Result<Seen<T>> {
    Ok(if holds(&value) { Seen::Done(value) } else { Seen::Waiting(format!("{value:?}")) })
}
