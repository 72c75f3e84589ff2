//! Looking at one job, and at a queue as a whole.

use jiff::Timestamp;

use super::row::{columns, get, read_job, text};
use super::{Job, JobId, JobStore, Sha256, StoreError};

const FIND: &str = concat!("SELECT ", columns!(), " FROM jobs WHERE id = $1");

/// Two halves, because each can then use its own partial index.
const FIGURES: &str = "SELECT COUNT(*) AS jobs, MIN(created_at) AS oldest FROM jobs \
     WHERE namespace = $1 AND endpoint = $2 AND state = 'queued' \
     UNION ALL SELECT -1 - COUNT(*), NULL FROM jobs WHERE namespace = $1 AND endpoint = $2 AND state = 'running'";

const WANTED: &str =
    "SELECT 1 AS wanted FROM jobs WHERE checkpoint = $1 AND state IN ('queued', 'running') LIMIT 1";

/// How busy an endpoint is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct QueueFigures {
    pub pending: u64,
    pub running: u64,
    /// When the oldest pending job was accepted.
    pub oldest_created_at: Option<Timestamp>,
}

impl JobStore {
    /// A job of the namespace.
    pub async fn get(&self, namespace: &str, id: JobId) -> Result<Option<Job>, StoreError> {
        Ok(self.find(id).await?.filter(|job| job.namespace == namespace))
    }

    /// A job, whoever's it is: for calls of workers, which are checked against the job's endpoint.
    pub async fn find(&self, id: JobId) -> Result<Option<Job>, StoreError> {
        let query = sqlx::query(FIND).bind(id.to_string());
        let rows = self.read(query).await.map_err(StoreError::query("look up a job"))?;
        rows.first().map(read_job).transpose()
    }

    /// Is there a job, of whatever namespace, that is not finished and needs the checkpoint of that hash?
    pub async fn is_wanted(&self, checkpoint: &Sha256) -> Result<bool, StoreError> {
        let query = sqlx::query(WANTED).bind(text(checkpoint.as_str()));
        let rows = self.read(query).await.map_err(StoreError::query("look for jobs of a checkpoint"))?;
        Ok(!rows.is_empty())
    }

    /// Pending and running jobs of an endpoint.
    pub async fn queue_figures(&self, namespace: &str, endpoint: &str) -> Result<QueueFigures, StoreError> {
        let query = sqlx::query(FIGURES).bind(text(namespace)).bind(text(endpoint));
        let rows = self.read(query).await.map_err(StoreError::query("count the jobs of an endpoint"))?;
        let mut figures = QueueFigures::default();
        for row in &rows {
            // `UNION ALL` promises no order: the running jobs are the number below zero.
            let jobs: i64 = get(row, "", "jobs")?;
            if let Ok(pending) = u64::try_from(jobs) {
                figures.pending = pending;
                let oldest: Option<i64> = get(row, "", "oldest")?;
                figures.oldest_created_at =
                    oldest.and_then(|oldest| Timestamp::from_microsecond(oldest).ok());
            } else {
                figures.running = jobs.unsigned_abs() - 1;
            }
        }
        Ok(figures)
    }
}
