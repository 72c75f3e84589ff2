//! What can go wrong with the job store, and what its callers are refused.

use super::{Attempt, JobId, JobState};

/// The database did not do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    #[error("the database URL is not usable: it has to start with sqlite:// or postgres://")]
    Url,
    #[error("cannot open the job database")]
    Open { source: sqlx::Error },
    #[error("cannot bring the job database's tables up to date")]
    Migrate { source: sqlx::migrate::MigrateError },
    #[error("the job database could not {what}")]
    Query { what: &'static str, source: sqlx::Error },
    #[error("job {id} has a {column} in the database that cannot be read: {problem}")]
    Corrupt { id: String, column: &'static str, problem: String },
}

impl StoreError {
    pub(super) fn query(what: &'static str) -> impl FnOnce(sqlx::Error) -> Self {
        move |source| Self::Query { what, source }
    }

    /// Does trying again make sense?
    pub fn retriable(&self) -> bool {
        match self {
            Self::Open { .. } | Self::Query { .. } => true,
            Self::Url | Self::Migrate { .. } | Self::Corrupt { .. } => false,
        }
    }

    /// Stable word; API.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::Url => "InvalidDatabaseUrl",
            Self::Open { .. } => "DatabaseUnreachable",
            Self::Migrate { .. } => "MigrationFailed",
            Self::Query { .. } => "DatabaseFailed",
            Self::Corrupt { .. } => "CorruptJob",
        }
    }
}

/// Why a job was not accepted.
#[derive(Debug, thiserror::Error)]
pub enum SubmitError {
    #[error("endpoint {endpoint} has {pending} jobs waiting; {limit} are allowed: try again later")]
    QueueFull { endpoint: String, pending: u64, limit: u32 },
    #[error("there is a job {id} already")]
    IdTaken { id: JobId },
    #[error("{field} of the job {problem}")]
    Invalid { field: &'static str, problem: &'static str },
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl SubmitError {
    /// Does trying again with the same job make sense?
    pub fn retriable(&self) -> bool {
        match self {
            Self::QueueFull { .. } => true,
            Self::IdTaken { .. } | Self::Invalid { .. } => false,
            Self::Store(error) => error.retriable(),
        }
    }

    /// Stable word; API.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::QueueFull { .. } => "QueueFull",
            Self::IdTaken { .. } => "IdTaken",
            Self::Invalid { .. } => "InvalidJob",
            Self::Store(error) => error.reason(),
        }
    }
}

/// Why a worker's word about a job does not count. It drops the job.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    #[error("there is no attempt {attempt} of a job {id}")]
    Unknown { id: JobId, attempt: Attempt },
    #[error("attempt {attempt} of job {id} is over: its lease ran out or was given back")]
    Stale { id: JobId, attempt: Attempt },
    #[error("job {id} is finished: {state}")]
    Finished { id: JobId, state: JobState },
    #[error("attempt {attempt} of job {id} has used up its {timeout_seconds} s")]
    TimedOut { id: JobId, attempt: Attempt, timeout_seconds: u64 },
}

impl Refused {
    /// The word in `easel_protocol::worker::Refusal`.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::Unknown { .. } => "Unknown",
            Self::Stale { .. } => "Stale",
            Self::Finished { .. } => "Finished",
            Self::TimedOut { .. } => "TimedOut",
        }
    }
}

/// A call of a worker about its job failed.
#[derive(Debug, thiserror::Error)]
pub enum LeaseError {
    #[error(transparent)]
    Refused(#[from] Refused),
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl LeaseError {
    /// Does trying again make sense?
    pub fn retriable(&self) -> bool {
        match self {
            Self::Refused(_) => false,
            Self::Store(error) => error.retriable(),
        }
    }
}
