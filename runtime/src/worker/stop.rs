//! Why a running job is to end early, told once, from wherever the reason comes up.

use tokio::sync::watch;

/// A reason to stop a job.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stop {
    /// The client does not want it any more.
    Cancelled,
    /// Another worker may hold it by now: nothing about it may be said any more.
    LeaseLost,
    /// It took longer than it may.
    TimedOut,
    /// This process ends before the job does.
    ShuttingDown,
}

/// Set once, read from anywhere; the engine's thread asks after each step.
#[derive(Debug)]
pub(super) struct StopSignal(watch::Sender<Option<Stop>>);

impl Default for StopSignal {
    fn default() -> Self {
        Self(watch::Sender::new(None))
    }
}

impl StopSignal {
    /// The first reason wins, except that a lost lease overrides every other: it forbids to report them.
    pub(super) fn set(&self, stop: Stop) {
        self.0.send_if_modified(|current| {
            let wins = current.is_none() || (stop == Stop::LeaseLost && *current != Some(stop));
            if wins {
                *current = Some(stop);
            }
            wins
        });
    }

    pub(super) fn get(&self) -> Option<Stop> {
        *self.0.borrow()
    }

    /// Waits until there is a reason.
    pub(super) async fn wait(&self) -> Stop {
        let mut receiver = self.0.subscribe();
        let stop = receiver.wait_for(Option::is_some).await.ok().and_then(|stop| *stop);
        stop.expect("the sender lives as long as self, and only a reason ends the wait")
    }

    /// Waits until the lease is lost; any other reason still allows to talk about the job.
    pub(super) async fn lease_lost(&self) {
        let mut receiver = self.0.subscribe();
        let waited = receiver.wait_for(|stop| *stop == Some(Stop::LeaseLost)).await;
        waited.expect("the sender lives as long as self");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_first_reason_stays_unless_the_lease_is_lost() {
        let signal = StopSignal::default();
        assert_eq!(signal.get(), None);
        signal.set(Stop::Cancelled);
        signal.set(Stop::TimedOut);
        assert_eq!(signal.wait().await, Stop::Cancelled);
        signal.set(Stop::LeaseLost);
        signal.set(Stop::ShuttingDown);
        signal.lease_lost().await;
        assert_eq!(signal.get(), Some(Stop::LeaseLost));
    }
}
