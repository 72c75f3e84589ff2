//! Accepting a job.

use jiff::Timestamp;
use sha2::{Digest as _, Sha256 as Hasher};

use super::database::{Dialect, Durability};
use super::row::{columns, json, micros, read_job, text};
use super::{Job, JobStore, NewJob, StoreError, SubmitError};

/// The limit is looked up no further than it reaches, so a long queue costs no more than a full one.
const INSERT: &str = concat!(
    "INSERT INTO jobs (id, namespace, endpoint, dialect, task, checkpoint, request, dialect_params, \
         idempotency_key, state, attempt, tries, max_tries, timeout_us, cancel_requested, not_before, created_at) \
     SELECT $1, $2, $3, $4, $5, $6, $7, $8, $9, 'queued', 0, 0, $10, $11, 0, 0, $12 \
     WHERE (SELECT COUNT(*) FROM (SELECT 1 FROM jobs WHERE namespace = $2 AND endpoint = $3 \
         AND state = 'queued' LIMIT $13) AS waiting) < $13 \
     ON CONFLICT DO NOTHING RETURNING ",
    columns!()
);

const BY_KEY: &str = concat!(
    "SELECT ",
    columns!(),
    " FROM jobs WHERE namespace = $1 AND endpoint = $2 AND idempotency_key = $3"
);

/// The longest name or key that is kept; Kubernetes' own limit of a name is 253.
const MAX_NAME_BYTES: usize = 256;

/// A job that is in the store.
#[derive(Clone, Debug, PartialEq)]
pub struct Submitted {
    pub job: Job,
    /// It was there before, under the same idempotency key.
    pub existed: bool,
}

impl JobStore {
    /// Accepts a job, unless `max_pending` jobs of its endpoint are queued already. When this has answered,
    /// the job survives everything but the loss of the disk.
    ///
    /// # Errors
    /// [`SubmitError::QueueFull`] passes; [`SubmitError::Invalid`] and [`SubmitError::IdTaken`] do not.
    pub async fn submit(
        &self,
        job: NewJob,
        max_pending: u32,
        now: Timestamp,
    ) -> Result<Submitted, SubmitError> {
        validate(&job)?;
        if let Some(job) = self.by_key(&job).await? {
            return self.existed(job).await;
        }
        let insert = sqlx::query(INSERT)
            .bind(job.id.to_string())
            .bind(job.namespace.clone())
            .bind(job.endpoint.clone())
            .bind(job.dialect.clone())
            .bind(json(&job.request.task))
            .bind(job.checkpoint.to_string())
            .bind(json(&job.request))
            .bind(json(&job.dialect_params))
            .bind(job.idempotency_key.clone())
            .bind(i64::from(job.max_tries))
            .bind(timeout_micros(job.timeout_seconds))
            .bind(micros(now))
            .bind(i64::from(max_pending));
        let rows = match self.dialect {
            // The one writer counts and inserts in one statement.
            Dialect::Sqlite => self.write(Durability::Kept, insert).await,
            // Two transactions that cannot see each other's row would both find the last place free.
            Dialect::Postgres => self.write_locked(queue_lock(&job), insert).await,
        };
        let rows = rows.map_err(StoreError::query("store a job"))?;
        if let Some(row) = rows.first() {
            self.bells.ring(&job.namespace, &job.endpoint);
            return Ok(Submitted { job: read_job(row)?, existed: false });
        }
        self.why_not(&job, max_pending).await
    }

    async fn why_not(&self, job: &NewJob, limit: u32) -> Result<Submitted, SubmitError> {
        // Another call with the same key was quicker.
        if let Some(job) = self.by_key(job).await? {
            return self.existed(job).await;
        }
        if self.find(job.id).await?.is_some() {
            return Err(SubmitError::IdTaken { id: job.id });
        }
        let pending = self.queue_figures(&job.namespace, &job.endpoint).await?.pending;
        Err(SubmitError::QueueFull { endpoint: job.endpoint.clone(), pending, limit })
    }

    /// The call that stored it may still be waiting for the disk.
    async fn existed(&self, job: Job) -> Result<Submitted, SubmitError> {
        self.settle().await.map_err(StoreError::query("store a job"))?;
        Ok(Submitted { job, existed: true })
    }

    async fn by_key(&self, job: &NewJob) -> Result<Option<Job>, StoreError> {
        let Some(key) = &job.idempotency_key else { return Ok(None) };
        let query = sqlx::query(BY_KEY).bind(text(&job.namespace)).bind(text(&job.endpoint)).bind(text(key));
        let rows = self.read(query).await.map_err(StoreError::query("look up an idempotency key"))?;
        rows.first().map(read_job).transpose()
    }
}

fn timeout_micros(seconds: u64) -> i64 {
    // A thousand years: a deadline after now stays far from the end of the numbers.
    const LONGEST: u64 = 1000 * 366 * 86_400;
    i64::try_from(seconds.min(LONGEST) * 1_000_000).expect("a thousand years of microseconds fit")
}

fn validate(job: &NewJob) -> Result<(), SubmitError> {
    let invalid = |field, problem| Err(SubmitError::Invalid { field, problem });
    let names = [
        ("namespace", Some(&job.namespace)),
        ("endpoint", Some(&job.endpoint)),
        ("dialect", Some(&job.dialect)),
        ("idempotency key", job.idempotency_key.as_ref()),
    ];
    for (field, name) in names.into_iter().filter_map(|(field, name)| Some((field, name?))) {
        if name.is_empty() || name.len() > MAX_NAME_BYTES {
            return invalid(field, "has to have 1 to 256 bytes");
        }
        if name.contains('\0') {
            return invalid(field, "contains a NUL character");
        }
    }
    if job.max_tries == 0 || job.timeout_seconds == 0 {
        return invalid("max_tries or timeout_seconds", "is 0");
    }
    Ok(())
}

/// The advisory lock of one queue. Queues that share a number by chance only wait for one another.
fn queue_lock(job: &NewJob) -> i64 {
    let mut hasher = Hasher::new();
    for part in ["easel queue", &job.namespace, &job.endpoint] {
        hasher.update(part);
        hasher.update([0]);
    }
    let digest: [u8; 32] = hasher.finalize().into();
    let mut number = [0; 8];
    number.copy_from_slice(&digest[..8]);
    i64::from_le_bytes(number)
}
