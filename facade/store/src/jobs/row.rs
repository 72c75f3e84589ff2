//! A job's row, to and from Rust: times are microseconds, structures are JSON text.

use std::str::FromStr;

use jiff::Timestamp;
use serde::Serialize;
use serde::de::DeserializeOwned;
use sqlx::Row as _;
use sqlx::any::AnyRow;

use super::{Attempt, Job, StoreError};

/// The columns that [`read_job`] reads; a macro, so that statements stay literals.
macro_rules! columns {
    () => {
        "id, namespace, endpoint, dialect, checkpoint, request, dialect_params, idempotency_key, state, attempt, \
         tries, max_tries, timeout_us, cancel_requested, worker, lease_until, progress, failure, completion, \
         created_at, started_at, finished_at"
    };
}
pub(super) use columns;

/// A moment as it is stored.
pub(super) fn micros(time: Timestamp) -> i64 {
    time.as_microsecond()
}

/// The latest moment that can be stored stands for anything later.
pub(super) fn micros_after(time: Timestamp, wait: std::time::Duration) -> i64 {
    micros(time)
        .saturating_add(i64::try_from(wait.as_micros()).unwrap_or(i64::MAX))
        .min(micros(Timestamp::MAX))
}

/// A text parameter. PostgreSQL cannot hold the NUL character; no name that is stored has one (`submit`
/// refuses them), so what it becomes here matches nothing.
pub(super) fn text(value: &str) -> String {
    value.replace('\0', "\u{fffd}")
}

/// JSON text; a NUL inside is written as an escape.
pub(super) fn json<T: Serialize>(value: &T) -> String {
    serde_json::to_string(value).expect("plain data with string keys is always JSON")
}

pub(super) fn read_job(row: &AnyRow) -> Result<Job, StoreError> {
    let columns = Columns { row, id: get(row, "", "id")? };
    Ok(Job {
        id: columns.parsed("id")?,
        namespace: columns.get("namespace")?,
        endpoint: columns.get("endpoint")?,
        dialect: columns.get("dialect")?,
        checkpoint: columns.parsed("checkpoint")?,
        request: columns.json("request")?,
        dialect_params: columns.json("dialect_params")?,
        idempotency_key: columns.get("idempotency_key")?,
        state: columns.parsed("state")?,
        attempt: Attempt(columns.number("attempt")?),
        tries: columns.number("tries")?,
        max_tries: columns.number("max_tries")?,
        timeout_seconds: columns.number::<u64>("timeout_us")? / 1_000_000,
        cancel_requested: columns.number::<u64>("cancel_requested")? != 0,
        worker: columns.get("worker")?,
        lease_until: columns.time("lease_until")?,
        progress: columns.optional_json("progress")?,
        failure: columns.optional_json("failure")?,
        completion: columns.optional_json("completion")?,
        created_at: columns.time("created_at")?.ok_or_else(|| columns.corrupt("created_at", &"not set"))?,
        started_at: columns.time("started_at")?,
        finished_at: columns.time("finished_at")?,
    })
}

/// One column of a row that may be no whole job.
pub(super) fn get<'r, T>(row: &'r AnyRow, id: &str, column: &'static str) -> Result<T, StoreError>
where
    T: sqlx::Decode<'r, sqlx::Any> + sqlx::Type<sqlx::Any>,
{
    row.try_get(column).map_err(|problem| corrupt(id, column, &problem))
}

fn corrupt(id: &str, column: &'static str, problem: &dyn std::fmt::Display) -> StoreError {
    StoreError::Corrupt { id: id.to_owned(), column, problem: problem.to_string() }
}

struct Columns<'r> {
    row: &'r AnyRow,
    id: String,
}

impl<'r> Columns<'r> {
    fn corrupt(&self, column: &'static str, problem: &dyn std::fmt::Display) -> StoreError {
        corrupt(&self.id, column, problem)
    }

    fn get<T>(&self, column: &'static str) -> Result<T, StoreError>
    where
        T: sqlx::Decode<'r, sqlx::Any> + sqlx::Type<sqlx::Any>,
    {
        get(self.row, &self.id, column)
    }

    fn parsed<T: FromStr<Err: std::fmt::Display>>(&self, column: &'static str) -> Result<T, StoreError> {
        self.get::<String>(column)?.parse().map_err(|problem| self.corrupt(column, &problem))
    }

    fn number<T: TryFrom<i64, Error: std::fmt::Display>>(
        &self,
        column: &'static str,
    ) -> Result<T, StoreError> {
        self.get::<i64>(column)?.try_into().map_err(|problem| self.corrupt(column, &problem))
    }

    fn json<T: DeserializeOwned>(&self, column: &'static str) -> Result<T, StoreError> {
        let text: String = self.get(column)?;
        serde_json::from_str(&text).map_err(|problem| self.corrupt(column, &problem))
    }

    fn optional_json<T: DeserializeOwned>(&self, column: &'static str) -> Result<Option<T>, StoreError> {
        let text: Option<String> = self.get(column)?;
        text.map(|text| serde_json::from_str(&text))
            .transpose()
            .map_err(|problem| self.corrupt(column, &problem))
    }

    fn time(&self, column: &'static str) -> Result<Option<Timestamp>, StoreError> {
        let micros: Option<i64> = self.get(column)?;
        micros.map(Timestamp::from_microsecond).transpose().map_err(|problem| self.corrupt(column, &problem))
    }
}
