//! Keeps the lease of a running job, and tells the job when it has to end.

use std::sync::Mutex;
use std::sync::PoisonError;
use std::time::Duration;

use easel_protocol::worker::{ClaimedJob, Heartbeat, Progress};
use tokio::time::{Instant, sleep_until, timeout_at};

use super::metrics::Metrics;
use super::shutdown::Shutdown;
use super::stop::{Stop, StopSignal};
use crate::backoff::Backoff;
use crate::error::chain;
use crate::facade::{CallError, Facade};

/// How far the job is; written by whoever works on it, sent with each heartbeat.
#[derive(Debug, Default)]
pub(super) struct ProgressCell(Mutex<Progress>);

impl ProgressCell {
    pub(super) fn set(&self, stage: &str, done: u64, total: u64) {
        *self.lock() = Progress { stage: stage.to_owned(), done, total };
    }

    pub(super) fn get(&self) -> Progress {
        self.lock().clone()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Progress> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One job's lease.
pub(super) struct LeaseKeeper<'a> {
    pub(super) facade: &'a Facade,
    pub(super) metrics: &'a Metrics,
    pub(super) shutdown: &'a Shutdown,
    pub(super) job: &'a ClaimedJob,
    /// When the claim was sent: the lease runs from a moment after that.
    pub(super) claimed_at: Instant,
    pub(super) progress: &'a ProgressCell,
    pub(super) stop: &'a StopSignal,
}

impl LeaseKeeper<'_> {
    /// Sends heartbeats until the lease is lost. Reasons to stop go to the signal; heartbeats go on after them,
    /// since the job is this worker's until it has said how it ended.
    pub(super) async fn keep(self) {
        let deadline = self.claimed_at + Duration::from_secs(self.job.timeout_seconds);
        let watch_clock = async {
            tokio::select! {
                () = sleep_until(deadline) => self.stop.set(Stop::TimedOut),
                () = self.shutdown.ended() => self.stop.set(Stop::ShuttingDown),
            }
            std::future::pending::<()>().await;
        };
        tokio::select! {
            () = watch_clock => {}
            () = self.beat() => self.stop.set(Stop::LeaseLost),
        }
    }

    /// Returns when the lease is lost. The time of an answered call counts from when it was *sent*: the facade
    /// may have renewed the lease at any moment after that.
    async fn beat(&self) {
        let mut lease = lease_of(self.job.lease_seconds);
        let mut renewed = self.claimed_at;
        let mut backoff = Backoff::new(lease / 40, lease / 6);
        let mut next = renewed + lease / 3;
        loop {
            let expiry = renewed + lease;
            sleep_until(next.min(expiry)).await;
            let sent = Instant::now();
            let heartbeat = Heartbeat { attempt: self.job.attempt, progress: self.progress.get() };
            match timeout_at(expiry, self.facade.heartbeat(&self.job.id, &heartbeat)).await {
                Err(_) => {
                    tracing::warn!(job.id = self.job.id, "the lease ran out before the facade answered");
                    return;
                }
                Ok(Ok(reply)) => {
                    lease = lease_of(reply.lease_seconds);
                    renewed = sent;
                    next = sent + lease / 3;
                    backoff.reset();
                    if reply.cancel {
                        self.stop.set(Stop::Cancelled);
                    }
                }
                Ok(Err(error)) => {
                    self.metrics.heartbeat_error();
                    if !self.survives(&error) {
                        return;
                    }
                    next = Instant::now() + backoff.next_delay();
                }
            }
        }
    }

    fn survives(&self, error: &CallError) -> bool {
        let job = &self.job.id;
        if error.retriable() {
            tracing::warn!(job.id = job, error = %chain(error), "a heartbeat failed; trying again");
        } else {
            tracing::warn!(job.id = job, error = %chain(error), "the lease is lost");
        }
        error.retriable()
    }
}

/// A lease of zero would be renewed without a pause.
fn lease_of(seconds: u64) -> Duration {
    Duration::from_secs(seconds.max(1))
}
