//! Forgets finished jobs after their time: first the pictures, then the record.

use std::time::Duration;

use easel_store::jobs::{JobId, StoreError};
use easel_store::objects::ObjectError;
use jiff::{SignedDuration, Timestamp};
use tokio::time::{MissedTickBehavior, interval};

use crate::app::App;
use crate::outputs;

const EVERY: Duration = Duration::from_secs(3600);
/// Jobs at a time, and objects at a time.
const BATCH: u32 = 100;

#[derive(Debug, thiserror::Error)]
enum PurgeError {
    #[error("cannot find or remove finished jobs")]
    Jobs(#[source] StoreError),
    #[error("cannot remove the outputs of job {id}")]
    Objects { id: JobId, source: ObjectError },
}

/// Looks every hour, first at the start; never when jobs are kept for ever.
pub async fn purge(app: App) {
    let days = app.config.job_retention_days;
    if days == 0 {
        app.shutdown.cancelled().await;
        return;
    }
    let kept = SignedDuration::from_hours(24 * i64::from(days));
    let mut ticks = interval(EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    while app.shutdown.run_until_cancelled(ticks.tick()).await.is_some() {
        match before(&app, Timestamp::now() - kept).await {
            Ok(0) => {}
            Ok(removed) => tracing::info!(removed, "old jobs are removed"),
            Err(error) => {
                tracing::warn!(error = &error as &dyn std::error::Error, "old jobs are not all removed");
            }
        }
    }
}

/// Removes every job that was finished before `end`. A crash in between leaves the record, so that the next
/// run finds what is left.
async fn before(app: &App, end: Timestamp) -> Result<u64, PurgeError> {
    let mut removed = 0;
    loop {
        let old = app.jobs.finished_before(end, BATCH).await.map_err(PurgeError::Jobs)?;
        if old.is_empty() || app.shutdown.is_cancelled() {
            return Ok(removed);
        }
        for job in old {
            let objects = remove_outputs(app, job.id).await;
            objects.map_err(|source| PurgeError::Objects { id: job.id, source })?;
            removed += u64::from(app.jobs.remove(job.id).await.map_err(PurgeError::Jobs)?);
        }
    }
}

async fn remove_outputs(app: &App, id: JobId) -> Result<(), ObjectError> {
    let prefix = outputs::job_prefix(id);
    let mut after = None;
    loop {
        let page = app.objects.list(&prefix, after.as_deref(), BATCH).await?;
        for object in page.objects {
            // What has no proper key was not stored by us.
            if let Ok(key) = object.key.parse() {
                app.objects.delete(&key).await?;
            }
        }
        match page.next {
            Some(next) => after = Some(next),
            None => return Ok(()),
        }
    }
}
