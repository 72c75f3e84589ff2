//! What the holder of a lease may say about its job. Each call is refused unless the job is running and both
//! the attempt and the worker are those of its lease; see `database` for why both.

use std::time::Duration;

use easel_protocol::FailureReport;
use easel_protocol::worker::Progress;
use jiff::Timestamp;
use sqlx::Any;
use sqlx::any::{AnyArguments, AnyRow};
use sqlx::query::Query;

use super::database::Durability;
use super::row::{get, json, micros, micros_after, text};
use super::{Attempt, CompletionRecord, Job, JobId, JobState, JobStore, LeaseError, Refused, StoreError};

/// Condition of every statement here: `$1` id, `$2` attempt, `$3` worker.
macro_rules! held {
    () => {
        " WHERE id = $1 AND attempt = $2 AND worker = $3 AND state = 'running'"
    };
}

const HEARTBEAT: &str = concat!(
    "UPDATE jobs SET progress = $4, lease_until = CASE WHEN $5 < deadline THEN $5 ELSE deadline END",
    held!(),
    " AND deadline > $6 RETURNING namespace, endpoint, cancel_requested, lease_until"
);

const COMPLETE: &str = concat!(
    "UPDATE jobs SET state = 'succeeded', completion = $4, finished_at = $5, lease_until = NULL, \
         deadline = NULL, failure = NULL",
    held!(),
    " RETURNING namespace, endpoint"
);

/// `$5`: 1 if another attempt makes sense; `$6`: now; `$7`: wait before the second try. A caller who
/// cancelled gets "cancelled", whatever the worker's reason was.
const FAIL: &str = concat!(
    "UPDATE jobs SET failure = $4, lease_until = NULL, deadline = NULL, \
         state = CASE WHEN cancel_requested = 1 THEN 'cancelled' \
                      WHEN $5 = 1 AND tries < max_tries THEN 'queued' ELSE 'failed' END, \
         worker = CASE WHEN cancel_requested = 0 AND $5 = 1 AND tries < max_tries THEN NULL ELSE worker END, \
         finished_at = CASE WHEN cancel_requested = 0 AND $5 = 1 AND tries < max_tries THEN NULL ELSE $6 END, \
         not_before = $6 + CASE tries WHEN 1 THEN $7 WHEN 2 THEN 4 * $7 ELSE 16 * $7 END",
    held!(),
    " RETURNING namespace, endpoint, state"
);

const RELEASE: &str = concat!(
    "UPDATE jobs SET tries = tries - 1, worker = NULL, lease_until = NULL, deadline = NULL, \
         state = CASE WHEN cancel_requested = 1 THEN 'cancelled' ELSE 'queued' END, \
         finished_at = CASE WHEN cancel_requested = 1 THEN $4 ELSE NULL END",
    held!(),
    " RETURNING namespace, endpoint"
);

/// The worker's reason for a job that it stopped because it was told to.
const CANCELLED: &str = "Cancelled";

/// Who speaks about which attempt of which job.
#[derive(Clone, Copy, Debug)]
pub struct Holder<'a> {
    pub id: JobId,
    pub attempt: Attempt,
    /// The name that the job was claimed with.
    pub worker: &'a str,
}

/// A lease that goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Renewed {
    /// The caller of the job wants it stopped.
    pub cancel: bool,
    /// No later than the end of the time that the attempt may take.
    pub lease_until: Timestamp,
}

impl JobStore {
    /// Renews a lease, also one that ran out if nobody has noticed yet: the worker is alive after all.
    pub async fn heartbeat(
        &self,
        holder: &Holder<'_>,
        progress: &Progress,
        lease: Duration,
        now: Timestamp,
    ) -> Result<Renewed, LeaseError> {
        let query =
            holder.query(HEARTBEAT).bind(json(progress)).bind(micros_after(now, lease)).bind(micros(now));
        let row = self.change(holder, Durability::Relaxed, query, "renew a lease").await?;
        let Some(row) = row else { return Err(self.refusal(holder).await?.into()) };
        let id = holder.id.to_string();
        let until = get::<i64>(&row, &id, "lease_until")?;
        let lease_until = Timestamp::from_microsecond(until).unwrap_or(Timestamp::MAX);
        Ok(Renewed { cancel: get::<i64>(&row, &id, "cancel_requested")? != 0, lease_until })
    }

    /// The job succeeded. May be repeated by the attempt that completed it.
    pub async fn complete(
        &self,
        holder: &Holder<'_>,
        record: &CompletionRecord,
        now: Timestamp,
    ) -> Result<(), LeaseError> {
        let query = holder.query(COMPLETE).bind(json(record)).bind(micros(now));
        let row = self.change(holder, Durability::Relaxed, query, "complete a job").await?;
        if row.is_some() {
            return Ok(());
        }
        let job = self.find(holder.id).await?;
        let same = |job: &Job| job.attempt == holder.attempt && job.worker.as_deref() == Some(holder.worker);
        match job {
            Some(job) if job.state == JobState::Succeeded && same(&job) => Ok(()),
            _ => Err(self.refusal(holder).await?.into()),
        }
    }

    /// The attempt failed: the job is queued again if that makes sense and it has tries left, and ends
    /// otherwise. Answers with what became of it.
    pub async fn fail(
        &self,
        holder: &Holder<'_>,
        failure: &FailureReport,
        now: Timestamp,
    ) -> Result<JobState, LeaseError> {
        let retry_delay = i64::try_from(self.options.retry_delay.as_micros()).unwrap_or(i64::MAX / 64);
        let again = failure.retriable || failure.reason == CANCELLED;
        let query = holder
            .query(FAIL)
            .bind(json(failure))
            .bind(i64::from(again))
            .bind(micros(now))
            .bind(retry_delay.min(i64::MAX / 64));
        let row = self.change(holder, Durability::Relaxed, query, "fail a job").await?;
        let Some(row) = row else { return Err(self.refusal(holder).await?.into()) };
        let id = holder.id.to_string();
        let state: String = get(&row, &id, "state")?;
        let corrupt = |problem: super::UnknownState| StoreError::Corrupt {
            id: id.clone(),
            column: "state",
            problem: problem.to_string(),
        };
        Ok(state.parse().map_err(corrupt)?)
    }

    /// The worker goes away in good order: the job is queued again and the attempt does not count.
    pub async fn release(&self, holder: &Holder<'_>, now: Timestamp) -> Result<(), LeaseError> {
        let query = holder.query(RELEASE).bind(micros(now));
        let row = self.change(holder, Durability::Relaxed, query, "release a job").await?;
        if row.is_some() { Ok(()) } else { Err(self.refusal(holder).await?.into()) }
    }

    /// Runs one of the statements above, and wakes who waits for the job's endpoint.
    async fn change(
        &self,
        holder: &Holder<'_>,
        durability: Durability,
        query: Query<'_, Any, AnyArguments>,
        what: &'static str,
    ) -> Result<Option<AnyRow>, StoreError> {
        let rows = self.write(durability, query).await.map_err(StoreError::query(what))?;
        let Some(row) = rows.into_iter().next() else { return Ok(None) };
        let id = holder.id.to_string();
        self.bells.ring(&get::<String>(&row, &id, "namespace")?, &get::<String>(&row, &id, "endpoint")?);
        Ok(Some(row))
    }

    /// Why the holder's word did not count.
    async fn refusal(&self, holder: &Holder<'_>) -> Result<Refused, StoreError> {
        let &Holder { id, attempt, .. } = holder;
        let Some(job) = self.find(id).await? else { return Ok(Refused::Unknown { id, attempt }) };
        Ok(why(&job, holder))
    }
}

/// Why a word about `job` does not count. What has changed since the word was refused does not matter: no
/// attempt becomes valid again.
fn why(job: &Job, holder: &Holder<'_>) -> Refused {
    let &Holder { id, attempt, worker } = holder;
    if attempt > job.attempt || attempt.0 == 0 {
        Refused::Unknown { id, attempt }
    } else if job.state.is_finished() {
        Refused::Finished { id, state: job.state }
    } else if attempt < job.attempt || job.state == JobState::Queued || job.worker.as_deref() != Some(worker)
    {
        Refused::Stale { id, attempt }
    } else {
        Refused::TimedOut { id, attempt, timeout_seconds: job.timeout_seconds }
    }
}

impl Holder<'_> {
    fn query(&self, statement: &'static str) -> Query<'static, Any, AnyArguments> {
        sqlx::query(statement)
            .bind(self.id.to_string())
            .bind(i64::from(self.attempt.0))
            .bind(text(self.worker))
    }
}
