//! Leases that ran out: the worker died, or cannot reach us.

use easel_protocol::FailureReport;
use jiff::Timestamp;

use super::database::Durability;
use super::row::{columns, json, micros, read_job};
use super::{Attempt, Job, JobState, JobStore, StoreError};

/// The rest is found by the next call.
const OVERDUE: &str = concat!(
    "SELECT ",
    columns!(),
    ", deadline FROM jobs WHERE state = 'running' AND lease_until < $1 ORDER BY lease_until LIMIT 256"
);

/// Guarded by attempt and time: a heartbeat or a completion may have come in between.
const EXPIRE: &str = concat!(
    "UPDATE jobs SET failure = $4, lease_until = NULL, deadline = NULL, \
         state = CASE WHEN cancel_requested = 1 THEN 'cancelled' \
                      WHEN tries < max_tries THEN 'queued' ELSE 'failed' END, \
         worker = CASE WHEN cancel_requested = 0 AND tries < max_tries THEN NULL ELSE worker END, \
         finished_at = CASE WHEN cancel_requested = 0 AND tries < max_tries THEN NULL ELSE $3 END \
     WHERE id = $1 AND attempt = $2 AND state = 'running' AND lease_until < $3 RETURNING ",
    columns!()
);

/// A lease that was taken back.
#[derive(Clone, Debug, PartialEq)]
pub struct Expired {
    /// As it is now: queued, failed or cancelled, with the reason in `failure`.
    pub job: Job,
    pub worker: String,
    pub attempt: Attempt,
}

impl JobStore {
    /// Takes back every lease that ran out before `now`: the job is queued again, or fails after its last
    /// try. To be called every few seconds; after a start of the facade only once a lease time has passed,
    /// so that workers which could not reach it in between may renew.
    pub async fn expire_leases(&self, now: Timestamp) -> Result<Vec<Expired>, StoreError> {
        let query = sqlx::query(OVERDUE).bind(micros(now));
        let rows = self.read(query).await.map_err(StoreError::query("look for leases that ran out"))?;
        let mut expired = Vec::with_capacity(rows.len());
        for row in rows {
            let job = read_job(&row)?;
            let timed_out = super::row::get::<Option<i64>>(&row, "", "deadline")?
                .is_some_and(|deadline| deadline <= micros(now));
            let failure = failure(&job, timed_out);
            let worker = job.worker.clone().unwrap_or_default();
            let query = sqlx::query(EXPIRE)
                .bind(job.id.to_string())
                .bind(i64::from(job.attempt.0))
                .bind(micros(now))
                .bind(json(&failure));
            let rows = self.write(Durability::Relaxed, query).await;
            let rows = rows.map_err(StoreError::query("take a lease back"))?;
            if let Some(row) = rows.first() {
                self.bells.ring(&job.namespace, &job.endpoint);
                expired.push(Expired { job: read_job(row)?, worker, attempt: job.attempt });
            }
        }
        Ok(expired)
    }
}

fn failure(job: &Job, timed_out: bool) -> FailureReport {
    let Job { tries, max_tries, timeout_seconds, attempt, .. } = job;
    let worker = job.worker.as_deref().unwrap_or("unknown");
    let last = if tries < max_tries { "" } else { "; it was the last one" };
    debug_assert_eq!(job.state, JobState::Running, "only a running job has a lease");
    let (reason, what) = if timed_out {
        ("TimedOut", format!("did not finish within {timeout_seconds} s"))
    } else {
        ("LeaseExpired", "was not heard of until its lease ran out".to_owned())
    };
    let message = format!("worker {worker} {what} (attempt {attempt}, try {tries} of {max_tries}{last})");
    FailureReport::new(reason, message, true)
}
