//! Jobs that wait for an endpoint which will never take them.

use easel_protocol::FailureReport;
use jiff::Timestamp;

use super::database::Durability;
use super::row::{columns, get, json, micros, read_job, text};
use super::{Job, JobStore, StoreError};

const WAITED_FOR: &str = "SELECT DISTINCT namespace, endpoint FROM jobs WHERE state = 'queued'";

const FAIL: &str = concat!(
    "UPDATE jobs SET state = 'failed', failure = $3, finished_at = $4 \
     WHERE namespace = $1 AND endpoint = $2 AND state = 'queued' RETURNING ",
    columns!()
);

impl JobStore {
    /// Every endpoint, as namespace and name, that has jobs waiting.
    pub async fn waited_for(&self) -> Result<Vec<(String, String)>, StoreError> {
        let rows = self.read(sqlx::query(WAITED_FOR)).await;
        let rows = rows.map_err(StoreError::query("look for endpoints that are waited for"))?;
        rows.iter().map(|row| Ok((get(row, "", "namespace")?, get(row, "", "endpoint")?))).collect()
    }

    /// Fails every waiting job of an endpoint. Running ones are left to their workers and leases.
    pub async fn fail_waiting(
        &self,
        namespace: &str,
        endpoint: &str,
        failure: &FailureReport,
        now: Timestamp,
    ) -> Result<Vec<Job>, StoreError> {
        let query = sqlx::query(FAIL)
            .bind(text(namespace))
            .bind(text(endpoint))
            .bind(json(failure))
            .bind(micros(now));
        let rows = self.write(Durability::Kept, query).await;
        let rows = rows.map_err(StoreError::query("fail the waiting jobs of an endpoint"))?;
        self.bells.ring(namespace, endpoint);
        rows.iter().map(read_job).collect()
    }
}
