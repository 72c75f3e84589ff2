//! What workers hold. Each report reaches one of the facades; here they all find what the others were told.

use easel_protocol::worker::ModelStates;
use jiff::Timestamp;
use sqlx::any::AnyRow;

use super::database::Durability;
use super::row::{get, json, micros, text};
use super::{JobStore, StoreError};

const STILL: &str = "UPDATE worker_models SET seen_at = $5 WHERE namespace = $1 AND endpoint = $2 \
                     AND worker = $3 AND states = $4 RETURNING worker";
const SAY: &str = "INSERT INTO worker_models (namespace, endpoint, worker, states, seen_at) \
                   VALUES ($1, $2, $3, $4, $5) ON CONFLICT (namespace, endpoint, worker) \
                   DO UPDATE SET states = excluded.states, seen_at = excluded.seen_at RETURNING worker";
const LEAVE: &str =
    "DELETE FROM worker_models WHERE namespace = $1 AND endpoint = $2 AND worker = $3 RETURNING worker";
const FORGET: &str = "DELETE FROM worker_models WHERE seen_at < $1 RETURNING worker";
const OF_ENDPOINT: &str = "SELECT namespace, endpoint, worker, states FROM worker_models \
                           WHERE namespace = $1 AND endpoint = $2 ORDER BY worker";
const ALL: &str =
    "SELECT namespace, endpoint, worker, states FROM worker_models ORDER BY namespace, endpoint, worker";

/// What one worker said last.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WorkerModels {
    pub namespace: String,
    pub endpoint: String,
    pub worker: String,
    pub states: ModelStates,
}

impl JobStore {
    /// Keeps what a worker says; one that holds nothing is forgotten. Returns whether that is anything new.
    pub async fn say_models(&self, said: &WorkerModels, now: Timestamp) -> Result<bool, StoreError> {
        let whose = |sql| {
            let query = sqlx::query(sql).bind(text(&said.namespace)).bind(text(&said.endpoint));
            query.bind(text(&said.worker))
        };
        let failed = || StoreError::query("keep what a worker holds");
        if said.states.models.is_empty() {
            let rows = self.write(Durability::Relaxed, whose(LEAVE)).await.map_err(failed())?;
            return Ok(!rows.is_empty());
        }
        let with_states = |sql| whose(sql).bind(json(&said.states)).bind(micros(now));
        let rows = self.write(Durability::Relaxed, with_states(STILL)).await.map_err(failed())?;
        if !rows.is_empty() {
            return Ok(false);
        }
        self.write(Durability::Relaxed, with_states(SAY)).await.map_err(failed())?;
        Ok(true)
    }

    /// Forgets the workers that have said nothing since `before`. Returns how many.
    pub async fn forget_models(&self, before: Timestamp) -> Result<usize, StoreError> {
        let rows = self.write(Durability::Relaxed, sqlx::query(FORGET).bind(micros(before))).await;
        Ok(rows.map_err(StoreError::query("forget silent workers"))?.len())
    }

    /// What the workers of an endpoint hold, by their names.
    pub async fn models_of(&self, namespace: &str, endpoint: &str) -> Result<Vec<WorkerModels>, StoreError> {
        let query = sqlx::query(OF_ENDPOINT).bind(text(namespace)).bind(text(endpoint));
        let rows = self.read(query).await.map_err(StoreError::query("read what workers hold"))?;
        rows.iter().map(read).collect()
    }

    /// What all workers hold, by endpoint.
    pub async fn all_models(&self) -> Result<Vec<WorkerModels>, StoreError> {
        let rows = self.read(sqlx::query(ALL)).await.map_err(StoreError::query("read what workers hold"))?;
        rows.iter().map(read).collect()
    }
}

fn read(row: &AnyRow) -> Result<WorkerModels, StoreError> {
    let worker: String = get(row, "", "worker")?;
    let states: String = get(row, &worker, "states")?;
    Ok(WorkerModels {
        namespace: get(row, &worker, "namespace")?,
        endpoint: get(row, &worker, "endpoint")?,
        // What another version wrote in a way that this one cannot read is as good as unsaid: it is said again.
        states: serde_json::from_str(&states).unwrap_or_default(),
        worker,
    })
}
