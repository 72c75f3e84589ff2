//! Cancelling a job.

use jiff::Timestamp;

use super::database::Durability;
use super::row::{columns, micros, read_job, text};
use super::{Job, JobId, JobState, JobStore, StoreError};

const CANCEL: &str = concat!(
    "UPDATE jobs SET cancel_requested = 1, \
         finished_at = CASE WHEN state = 'queued' THEN $3 ELSE NULL END, \
         state = CASE WHEN state = 'queued' THEN 'cancelled' ELSE state END \
     WHERE id = $1 AND namespace = $2 AND state IN ('queued', 'running') RETURNING ",
    columns!()
);

/// What became of the wish.
#[derive(Clone, Debug, PartialEq)]
pub enum Cancel {
    /// It had not begun, and never will.
    Cancelled(Job),
    /// Its worker is told with the next heartbeat. If it ends before that, it has ended.
    Requested(Job),
    /// There was nothing left to stop.
    AlreadyFinished(Job),
    NotFound,
}

impl JobStore {
    /// Cancels a job of the namespace. May be repeated.
    pub async fn cancel(&self, namespace: &str, id: JobId, now: Timestamp) -> Result<Cancel, StoreError> {
        let query = sqlx::query(CANCEL).bind(id.to_string()).bind(text(namespace)).bind(micros(now));
        let rows = self.write(Durability::Kept, query).await.map_err(StoreError::query("cancel a job"))?;
        let Some(row) = rows.first() else {
            let job = self.get(namespace, id).await?;
            return Ok(job.map_or(Cancel::NotFound, Cancel::AlreadyFinished));
        };
        let job = read_job(row)?;
        self.bells.ring(&job.namespace, &job.endpoint);
        Ok(if job.state == JobState::Cancelled { Cancel::Cancelled(job) } else { Cancel::Requested(job) })
    }
}
