//! Ending in order: first no new work, then the running job, then, when the grace is over, nothing.

use std::time::Duration;

use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

/// Two signals that come one after the other. Clones share them.
#[derive(Debug, Clone, Default)]
pub struct Shutdown {
    drain: CancellationToken,
    now: CancellationToken,
}

impl Shutdown {
    pub fn new() -> Self {
        Self::default()
    }

    /// Take no new work; finish what runs.
    pub fn begin(&self) {
        self.drain.cancel();
    }

    /// Give back what runs.
    pub fn end(&self) {
        self.drain.cancel();
        self.now.cancel();
    }

    pub fn draining(&self) -> bool {
        self.drain.is_cancelled()
    }

    pub async fn drained(&self) {
        self.drain.cancelled().await;
    }

    pub async fn ended(&self) {
        self.now.cancelled().await;
    }

    /// Waits for SIGTERM or SIGINT, then gives the running job `grace`; a second signal ends the grace at once.
    ///
    /// # Errors
    /// The signals cannot be listened for.
    pub async fn on_signals(self, grace: Duration) -> std::io::Result<()> {
        let mut terminate = signal(SignalKind::terminate())?;
        let mut interrupt = signal(SignalKind::interrupt())?;
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        tracing::info!(grace_s = grace.as_secs(), "asked to stop: no new jobs, the running one may finish");
        self.begin();
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
            () = tokio::time::sleep(grace) => tracing::warn!("the grace is over: the running job is given back"),
        }
        self.end();
        Ok(())
    }
}
