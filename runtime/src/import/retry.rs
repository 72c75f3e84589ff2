//! Calls to the facade are repeated: it may restart while an import of an hour is under way.

use std::time::Duration;

use tokio::time::{Instant, sleep};

use crate::backoff::Backoff;
use crate::error::chain;
use crate::facade::CallError;

/// How long a facade may be away before the Job's own retry takes over.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Patience(pub(crate) Duration);

impl Patience {
    /// Repeats `call` while `again` says so of its error and the time is not up.
    ///
    /// # Errors
    /// The last one.
    pub(crate) async fn repeat<T, F: Future<Output = Result<T, CallError>>>(
        self,
        call: impl Fn() -> F,
        again: impl Fn(&CallError) -> bool,
    ) -> Result<T, CallError> {
        let end = Instant::now() + self.0;
        let mut backoff = Backoff::new(Duration::from_millis(250), Duration::from_secs(10));
        loop {
            let error = match call().await {
                Ok(value) => return Ok(value),
                Err(error) => error,
            };
            let delay = backoff.next_delay();
            if !again(&error) || Instant::now() + delay > end {
                return Err(error);
            }
            tracing::warn!(error = %chain(&error), "a call to the facade failed; trying again");
            sleep(delay).await;
        }
    }
}
