//! Handing a job to a worker.

use std::time::Duration;

use jiff::Timestamp;
use sqlx::any::AnyRow;

use super::database::{Dialect, Durability};
use super::row::{columns, micros, micros_after, read_job, text};
use super::{Job, JobStore, Sha256, StoreError};

/// Among this many of the oldest jobs the claim looks for one whose checkpoint the worker holds. Fewer, and
/// a burst of mixed jobs makes workers swap models; more, and each claim sorts longer, and on PostgreSQL
/// nothing is gained until more workers than this claim in the same instant.
macro_rules! window {
    () => {
        "64"
    };
}

/// One statement: choose, and take. `$lock` is what keeps two PostgreSQL transactions off the same row.
macro_rules! claim {
    ($lock:literal) => {
        concat!(
            "UPDATE jobs SET state = 'running', attempt = attempt + 1, tries = tries + 1, worker = $3, \
                 started_at = $5, deadline = $5 + timeout_us, progress = NULL, \
                 lease_until = CASE WHEN $6 < $5 + timeout_us THEN $6 ELSE $5 + timeout_us END \
             WHERE state = 'queued' AND id = (SELECT id FROM jobs WHERE state = 'queued' AND id IN \
                 (SELECT id FROM jobs WHERE namespace = $1 AND endpoint = $2 AND state = 'queued' \
                      AND not_before <= $5 ORDER BY created_at, id LIMIT ",
            window!(),
            ") ORDER BY CASE WHEN created_at <= $7 THEN 0 \
                     WHEN $4 LIKE '%' || checkpoint || '%' THEN 1 ELSE 2 END, created_at, id LIMIT 1",
            $lock,
            ") RETURNING ",
            columns!()
        )
    };
}
const CLAIM_SQLITE: &str = claim!("");
const CLAIM_POSTGRES: &str = claim!(" FOR UPDATE SKIP LOCKED");

/// Who wants a job, and which.
#[derive(Clone, Copy, Debug)]
pub struct Claim<'a> {
    pub namespace: &'a str,
    pub endpoint: &'a str,
    /// The worker's name; its later calls have to name the same.
    pub worker: &'a str,
    /// Models in the worker's memory.
    pub held: &'a [Sha256],
    pub lease: Duration,
}

impl JobStore {
    /// Leases the oldest job of the endpoint to the worker; a job whose checkpoint it holds is preferred
    /// unless another one has waited longer than [`super::OpenOptions::fairness`]. `None`: nothing is due.
    pub async fn claim(&self, claim: &Claim<'_>, now: Timestamp) -> Result<Option<Job>, StoreError> {
        let statement = match self.dialect {
            Dialect::Sqlite => CLAIM_SQLITE,
            Dialect::Postgres => CLAIM_POSTGRES,
        };
        let held: Vec<&str> = claim.held.iter().map(Sha256::as_str).collect();
        let fairness = i64::try_from(self.options.fairness.as_micros()).unwrap_or(i64::MAX);
        let query = sqlx::query(statement)
            .bind(text(claim.namespace))
            .bind(text(claim.endpoint))
            .bind(text(claim.worker))
            .bind(held.join(","))
            .bind(micros(now))
            .bind(micros_after(now, claim.lease))
            .bind(micros(now).saturating_sub(fairness));
        let rows = self.write(Durability::Relaxed, query).await.map_err(StoreError::query("lease a job"))?;
        let job = rows.first().map(|row: &AnyRow| read_job(row)).transpose()?;
        if job.is_some() {
            self.bells.ring(claim.namespace, claim.endpoint);
        }
        Ok(job)
    }
}
