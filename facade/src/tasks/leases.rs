//! Takes back the leases of workers that went silent.

use std::time::Duration;

use easel_store::jobs::JobState;
use jiff::Timestamp;
use tokio::time::{MissedTickBehavior, interval, sleep};

use crate::app::App;
use crate::worker_api::count_end;

/// Adds at most this to the time until another worker gets the job.
const EVERY: Duration = Duration::from_secs(1);

/// Looks every second, from one lease time after the start on: workers could not renew while we were away.
pub async fn expire_leases(app: App) {
    tokio::select! {
        () = sleep(app.config.lease) => {}
        () = app.shutdown.cancelled() => return,
    }
    let mut ticks = interval(EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    while app.shutdown.run_until_cancelled(ticks.tick()).await.is_some() {
        sweep(&app).await;
    }
}

async fn sweep(app: &App) {
    let expired = match app.jobs.expire_leases(Timestamp::now()).await {
        Ok(expired) => expired,
        Err(error) => {
            tracing::error!(error = &error as &dyn std::error::Error, "cannot look for leases that ran out");
            return;
        }
    };
    for lost in expired {
        let job = &lost.job;
        let outcome = if job.state == JobState::Queued { "queued" } else { "ended" };
        app.metrics.expired(outcome, 1);
        count_end(app, job, job.state);
        tracing::warn!(
            job.id = %job.id,
            namespace = job.namespace,
            endpoint = job.endpoint,
            worker = lost.worker,
            attempt = lost.attempt.0,
            state = %job.state,
            "a lease ran out"
        );
    }
}
