//! Why a job is not taken.

use easel_protocol::InvalidRequest;
use easel_store::jobs::{self, StoreError};

/// Why a job was not taken.
#[derive(Debug, thiserror::Error)]
pub enum SubmitError {
    #[error("the caches of Endpoints and Models are not filled yet")]
    NotSynced,
    #[error("no endpoint is named")]
    EndpointMissing,
    #[error("endpoint \"{name}\" is not found{}", list_of(.known))]
    UnknownEndpoint { name: String, known: Vec<String> },
    #[error("endpoint \"{name}\" is not InService: {reason}: {message}{}", and_last(.last_failure))]
    NotReady { name: String, reason: String, message: String, last_failure: Option<String> },
    #[error("no checkpoint is named")]
    CheckpointMissing,
    #[error("{} models cannot be used", .0.len())]
    Models(Vec<UnusableModel>),
    #[error(transparent)]
    Invalid(#[from] InvalidRequest),
    #[error("the queue of endpoint \"{endpoint}\" is full: {pending} jobs wait, {limit} may")]
    QueueFull { endpoint: String, pending: u64, limit: u32 },
    #[error("{field} {problem}")]
    Field { field: &'static str, problem: String },
    #[error("cannot store the job")]
    Store { source: StoreError },
}

/// One model that cannot be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnusableModel {
    /// What was asked for: `Checkpoint`, `Lora`, …
    pub model_type: &'static str,
    /// As the client writes it.
    pub name: String,
    pub why: WhyUnusable,
}

/// Why it cannot be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WhyUnusable {
    /// No Model of that type is called so; these are there.
    Unknown { known: Vec<String> },
    /// The endpoint does not offer it.
    NotListed { endpoint: String },
    /// It is being imported, or its import failed.
    NotReady { reason: String, message: String },
}

fn list_of(names: &[String]) -> String {
    match names {
        [] => "; there is none".to_owned(),
        names => format!("; known are {}", names.join(", ")),
    }
}

fn and_last(failure: &Option<String>) -> String {
    failure.as_ref().map_or_else(String::new, |failure| format!(" (last failure: {failure})"))
}

impl From<jobs::SubmitError> for SubmitError {
    fn from(error: jobs::SubmitError) -> Self {
        match error {
            jobs::SubmitError::QueueFull { pending, limit, endpoint } => {
                Self::QueueFull { endpoint, pending, limit }
            }
            jobs::SubmitError::Invalid { field, problem } => Self::Field { field, problem: problem.into() },
            jobs::SubmitError::IdTaken { id } => {
                Self::Field { field: "job id", problem: format!("{id} is taken") }
            }
            jobs::SubmitError::Store(source) => Self::Store { source },
        }
    }
}
