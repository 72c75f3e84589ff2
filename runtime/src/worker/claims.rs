//! Asks for jobs, one after the other, until the process drains.

use std::time::Duration;

use easel_protocol::worker::{ClaimRequest, ClaimedJob, Release};
use tokio::time::{Instant, sleep, timeout};

use super::health::Health;
use super::job::{EngineStuck, Worker};
use crate::backoff::Backoff;
use crate::error::chain;
use crate::facade::CallError;

/// A claim under way when the drain begins gets this long: the facade may just be handing out a job, and a job
/// whose answer nobody reads waits for its lease to run out.
const LAST_CLAIM: Duration = Duration::from_secs(2);

/// Runs until the drain; the last job is finished or given back by then.
pub(super) async fn claim_loop(
    worker: &Worker,
    health: &Health,
    wait_seconds: u64,
) -> Result<(), EngineStuck> {
    tokio::select! {
        () = health.models_loaded() => {}
        () = worker.shutdown.drained() => return Ok(()),
    }
    let mut backoff = Backoff::new(Duration::from_millis(250), Duration::from_secs(10));
    while !worker.shutdown.draining() {
        let sent = Instant::now();
        match claim(worker, wait_seconds).await {
            Some(Ok(Some(job))) if worker.shutdown.draining() => give_back(worker, &job).await,
            Some(Ok(Some(job))) => {
                backoff.reset();
                tracing::info!(
                    job.id = job.id,
                    attempt = job.attempt,
                    model = job.checkpoint.model,
                    "job claimed"
                );
                worker.run(job, sent).await?;
            }
            Some(Ok(None)) => backoff.reset(),
            Some(Err(error)) => {
                tracing::warn!(error = %chain(&error), "cannot claim a job; trying again");
                tokio::select! {
                    () = sleep(backoff.next_delay()) => {}
                    () = worker.shutdown.drained() => {}
                }
            }
            None => {}
        }
    }
    Ok(())
}

/// `None` when the drain cut the call short.
async fn claim(worker: &Worker, wait_seconds: u64) -> Option<Result<Option<ClaimedJob>, CallError>> {
    let request = ClaimRequest { held: worker.pool.held(), wait_seconds };
    let call = worker.facade.claim(&request);
    tokio::pin!(call);
    tokio::select! {
        answer = &mut call => Some(answer),
        () = worker.shutdown.drained() => timeout(LAST_CLAIM, call).await.ok(),
    }
}

async fn give_back(worker: &Worker, job: &ClaimedJob) {
    let release = Release { attempt: job.attempt };
    match worker.facade.release(&job.id, &release).await {
        Ok(()) => tracing::info!(job.id = job.id, "gave a job back that came while draining"),
        Err(error) => {
            // Its lease runs out and it is handed out again; it loses one attempt.
            tracing::warn!(job.id = job.id, error = %chain(&error), "cannot give a job back");
        }
    }
}
