//! Fails the waiting jobs of Endpoints that were deleted: nobody would ever take them.

use std::collections::HashMap;
use std::time::Duration;

use easel_protocol::FailureReport;
use jiff::{SignedDuration, Timestamp};
use tokio::time::{MissedTickBehavior, interval};

use crate::app::App;
use crate::worker_api::count_end;

const EVERY: Duration = Duration::from_secs(10);

/// An Endpoint that is deleted and made anew, as GitOps tools do, keeps its jobs if it is back within this.
pub const GRACE: SignedDuration = SignedDuration::from_secs(60);

/// Endpoints that jobs wait for and that are not there, with the time when that was first seen.
pub type Missing = HashMap<(String, String), Timestamp>;

/// Looks every ten seconds, once the Endpoints are read.
pub async fn fail_orphans(app: App) {
    let mut missing = Missing::new();
    let mut ticks = interval(EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    while app.shutdown.run_until_cancelled(ticks.tick()).await.is_some() {
        sweep_orphans(&app, &mut missing, Timestamp::now()).await;
    }
}

/// One look. An Endpoint has to be away for [`GRACE`] before its jobs fail; `missing` is kept between looks.
pub async fn sweep_orphans(app: &App, missing: &mut Missing, now: Timestamp) {
    if !app.directory.objects_known() {
        return;
    }
    let waited_for = match app.jobs.waited_for().await {
        Ok(waited_for) => waited_for,
        Err(error) => {
            tracing::error!(
                error = &error as &dyn std::error::Error,
                "cannot look for jobs of deleted endpoints"
            );
            return;
        }
    };
    let absent = |(namespace, name): &(String, String)| app.directory.endpoint(namespace, name).is_none();
    missing.retain(|endpoint, _| waited_for.contains(endpoint) && absent(endpoint));
    for endpoint in waited_for.into_iter().filter(absent) {
        let since = *missing.entry(endpoint.clone()).or_insert(now);
        if now.duration_since(since) >= GRACE {
            fail(app, &endpoint, now).await;
        }
    }
}

async fn fail(app: &App, (namespace, name): &(String, String), now: Timestamp) {
    let message = format!(
        "Endpoint {namespace}/{name} was deleted before a worker took the job: create it again and resend"
    );
    let failure = FailureReport::new("EndpointDeleted", message, false);
    match app.jobs.fail_waiting(namespace, name, &failure, now).await {
        Ok(jobs) => {
            for job in &jobs {
                count_end(app, job, job.state);
            }
            tracing::warn!(
                namespace,
                endpoint = name,
                jobs = jobs.len(),
                "jobs of a deleted endpoint failed"
            );
        }
        Err(error) => {
            let error = &error as &dyn std::error::Error;
            tracing::error!(error, namespace, endpoint = name, "cannot fail the jobs of a deleted endpoint");
        }
    }
}
