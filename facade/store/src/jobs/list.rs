//! Lists of jobs, newest first, a page at a time.

use std::fmt;
use std::str::FromStr;

use easel_protocol::Task;
use jiff::Timestamp;
use sqlx::any::AnyArguments;
use sqlx::query::Query;
use sqlx::{Any, AssertSqlSafe};

use super::row::{columns, json, micros, read_job, text};
use super::{Job, JobId, JobState, JobStore, Sha256, StoreError};

/// Longest page.
const MAX_LIMIT: u32 = 1000;

/// Which jobs of a namespace; what is unset or empty does not narrow the list.
#[derive(Clone, Debug, PartialEq)]
pub struct JobFilter {
    pub namespace: String,
    pub endpoint: Option<String>,
    pub states: Vec<JobState>,
    pub task: Option<Task>,
    pub dialect: Option<String>,
    /// This moment or later.
    pub created_after: Option<Timestamp>,
    /// Before this moment.
    pub created_before: Option<Timestamp>,
    pub checkpoint: Option<Sha256>,
    /// 1 to 1000.
    pub limit: u32,
    /// Where the page before ended.
    pub before: Option<Cursor>,
}

impl JobFilter {
    /// The namespace's newest hundred.
    pub fn new(namespace: impl Into<String>) -> Self {
        Self {
            namespace: namespace.into(),
            endpoint: None,
            states: Vec::new(),
            task: None,
            dialect: None,
            created_after: None,
            created_before: None,
            checkpoint: None,
            limit: 100,
            before: None,
        }
    }
}

/// Where a page ended. Jobs that are added or removed meanwhile neither shift nor repeat the next page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cursor {
    created_at: Timestamp,
    id: JobId,
}

impl fmt::Display for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}_{}", micros(self.created_at), self.id)
    }
}

/// The text is no [`Cursor`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the page token is not one that a list of jobs gave out")]
pub struct InvalidCursor;

impl FromStr for Cursor {
    type Err = InvalidCursor;

    fn from_str(token: &str) -> Result<Self, InvalidCursor> {
        let (created_at, id) = token.split_once('_').ok_or(InvalidCursor)?;
        let created_at = created_at.parse().map_err(|_| InvalidCursor)?;
        let created_at = Timestamp::from_microsecond(created_at).map_err(|_| InvalidCursor)?;
        Ok(Self { created_at, id: id.parse().map_err(|_| InvalidCursor)? })
    }
}

/// A part of a list.
#[derive(Clone, Debug, PartialEq)]
pub struct JobPage {
    pub jobs: Vec<Job>,
    /// There is more.
    pub next: Option<Cursor>,
}

impl JobStore {
    /// Lists jobs, newest first.
    pub async fn list(&self, filter: &JobFilter) -> Result<JobPage, StoreError> {
        let limit = filter.limit.clamp(1, MAX_LIMIT);
        let statement = Statement::of(filter, limit + 1);
        let rows = self.read(statement.query()).await.map_err(StoreError::query("list jobs"))?;
        let mut jobs = rows.iter().map(read_job).collect::<Result<Vec<_>, _>>()?;
        let more = jobs.len() > limit as usize;
        jobs.truncate(limit as usize);
        let next = jobs.last().filter(|_| more).map(|job| Cursor { created_at: job.created_at, id: job.id });
        Ok(JobPage { jobs, next })
    }
}

enum Value {
    Text(String),
    Number(i64),
}

/// A `SELECT` put together from literals; every value is a parameter.
struct Statement {
    sql: String,
    values: Vec<Value>,
}

impl Statement {
    fn of(filter: &JobFilter, rows: u32) -> Self {
        let sql = concat!("SELECT ", columns!(), " FROM jobs WHERE namespace = ").to_owned();
        let mut statement = Self { sql, values: Vec::new() };
        statement.value(Value::Text(text(&filter.namespace)));
        let checkpoint = filter.checkpoint.as_ref().map(ToString::to_string);
        let texts = [
            ("endpoint = ", filter.endpoint.as_deref().map(text)),
            ("task = ", filter.task.as_ref().map(json)),
            ("dialect = ", filter.dialect.as_deref().map(text)),
            ("checkpoint = ", checkpoint),
        ];
        for (condition, value) in texts {
            statement.and(condition, value.map(Value::Text));
        }
        statement.and("created_at >= ", filter.created_after.map(micros).map(Value::Number));
        statement.and("created_at < ", filter.created_before.map(micros).map(Value::Number));
        for (i, state) in filter.states.iter().enumerate() {
            statement.sql.push_str(if i == 0 { " AND state IN (" } else { ", " });
            statement.value(Value::Text(state.as_str().to_owned()));
        }
        if !filter.states.is_empty() {
            statement.sql.push(')');
        }
        if let Some(Cursor { created_at, id }) = filter.before {
            statement.and("(created_at, id) < (", Some(Value::Number(micros(created_at))));
            statement.sql.push_str(", ");
            statement.value(Value::Text(id.to_string()));
            statement.sql.push(')');
        }
        statement.sql.push_str(" ORDER BY created_at DESC, id DESC LIMIT ");
        statement.value(Value::Number(i64::from(rows)));
        statement
    }

    fn and(&mut self, condition: &'static str, value: Option<Value>) {
        if let Some(value) = value {
            self.sql.push_str(" AND ");
            self.sql.push_str(condition);
            self.value(value);
        }
    }

    fn value(&mut self, value: Value) {
        self.values.push(value);
        self.sql.push('$');
        self.sql.push_str(&self.values.len().to_string());
    }

    fn query(self) -> Query<'static, Any, AnyArguments> {
        let query = sqlx::query(AssertSqlSafe(self.sql));
        self.values.into_iter().fold(query, |query, value| match value {
            Value::Text(text) => query.bind(text),
            Value::Number(number) => query.bind(number),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_is_never_part_of_the_statement() {
        let mut filter = JobFilter::new("'; DROP TABLE jobs; --");
        filter.endpoint = Some("' OR 1=1".into());
        filter.states = vec![JobState::Queued, JobState::Failed];
        let statement = Statement::of(&filter, 3);
        let wanted = " WHERE namespace = $1 AND endpoint = $2 AND state IN ($3, $4) \
             ORDER BY created_at DESC, id DESC LIMIT $5";
        assert!(statement.sql.ends_with(wanted), "{}", statement.sql);
        assert_eq!(statement.values.len(), 5);
    }

    #[test]
    fn a_cursor_reads_back() {
        let cursor = Cursor { created_at: Timestamp::from_microsecond(12).unwrap(), id: JobId::new() };
        assert_eq!(cursor.to_string().parse(), Ok(cursor));
        for wrong in ["", "12", "12_", "x_y", "9223372036854775807_x"] {
            assert_eq!(wrong.parse::<Cursor>(), Err(InvalidCursor), "{wrong}");
        }
    }
}
