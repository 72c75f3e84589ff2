//! Forgetting finished jobs. In two steps, so that a crash between them leaves a row without objects, which
//! the next round removes, and never objects that no row knows of.

use jiff::Timestamp;

use super::database::Durability;
use super::row::{get, micros};
use super::{JobId, JobStore, StoreError};

const FINISHED_BEFORE: &str =
    "SELECT id, namespace, endpoint FROM jobs WHERE finished_at < $1 ORDER BY finished_at LIMIT $2";
const REMOVE: &str = "DELETE FROM jobs WHERE id = $1 AND finished_at IS NOT NULL RETURNING id";

/// A job that may be forgotten.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FinishedJob {
    pub id: JobId,
    pub namespace: String,
    pub endpoint: String,
}

impl JobStore {
    /// Jobs that were finished before the given time, oldest first, `limit` at most.
    pub async fn finished_before(
        &self,
        before: Timestamp,
        limit: u32,
    ) -> Result<Vec<FinishedJob>, StoreError> {
        let query = sqlx::query(FINISHED_BEFORE).bind(micros(before)).bind(i64::from(limit));
        let rows = self.read(query).await.map_err(StoreError::query("look for finished jobs"))?;
        rows.iter()
            .map(|row| {
                let id: String = get(row, "", "id")?;
                let parsed = id.parse().map_err(|problem: super::InvalidId| StoreError::Corrupt {
                    id: id.clone(),
                    column: "id",
                    problem: problem.to_string(),
                })?;
                let (namespace, endpoint) = (get(row, &id, "namespace")?, get(row, &id, "endpoint")?);
                Ok(FinishedJob { id: parsed, namespace, endpoint })
            })
            .collect()
    }

    /// Removes a finished job, after its objects. `false`: there was none.
    pub async fn remove(&self, id: JobId) -> Result<bool, StoreError> {
        let query = sqlx::query(REMOVE).bind(id.to_string());
        let rows = self.write(Durability::Relaxed, query).await;
        Ok(!rows.map_err(StoreError::query("remove a job"))?.is_empty())
    }
}
