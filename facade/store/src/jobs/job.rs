//! What the store keeps of a job.

use std::fmt;
use std::str::FromStr;

use easel_protocol::worker::{Completion, OutputDone, Progress, Timings};
use easel_protocol::{FailureReport, GenerationRequest};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{Attempt, JobId, Sha256};

/// Where a job stands. `Queued -> Running -> Succeeded | Failed | Cancelled`, and back to `Queued` when an
/// attempt did not end well and another one is due.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum JobState {
    Queued,
    Running,
    Succeeded,
    Failed,
    Cancelled,
}

impl JobState {
    pub const ALL: [Self; 5] = [Self::Queued, Self::Running, Self::Succeeded, Self::Failed, Self::Cancelled];

    /// The word in the database.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::Running => "running",
            Self::Succeeded => "succeeded",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
        }
    }

    /// Nothing will change any more.
    pub fn is_finished(self) -> bool {
        match self {
            Self::Queued | Self::Running => false,
            Self::Succeeded | Self::Failed | Self::Cancelled => true,
        }
    }
}

impl fmt::Display for JobState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A word that is no [`JobState`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("\"{0}\" is no state of a job")]
pub struct UnknownState(String);

impl FromStr for JobState {
    type Err = UnknownState;

    fn from_str(word: &str) -> Result<Self, UnknownState> {
        let known = Self::ALL.into_iter().find(|state| state.as_str() == word);
        known.ok_or_else(|| UnknownState(word.chars().take(80).collect()))
    }
}

/// A job as a dialect hands it in.
#[derive(Clone, Debug, PartialEq)]
pub struct NewJob {
    pub id: JobId,
    pub namespace: String,
    pub endpoint: String,
    /// Which dialect it came in by, e.g. `aws`.
    pub dialect: String,
    pub request: GenerationRequest,
    /// The file that `request.checkpoint` stood for when the job was accepted.
    pub checkpoint: Sha256,
    /// What the dialect needs to answer questions about the job; the store only keeps it.
    pub dialect_params: serde_json::Value,
    /// A second job of the same endpoint with this key is not stored; the first one is the answer.
    pub idempotency_key: Option<String>,
    /// Attempts before the job fails for good; 1 or more.
    pub max_tries: u32,
    /// Time that one attempt may take; 1 or more.
    pub timeout_seconds: u64,
}

/// A job as it stands in the store.
#[derive(Clone, Debug, PartialEq)]
pub struct Job {
    pub id: JobId,
    pub namespace: String,
    pub endpoint: String,
    pub dialect: String,
    pub request: GenerationRequest,
    pub checkpoint: Sha256,
    pub dialect_params: serde_json::Value,
    pub idempotency_key: Option<String>,
    pub state: JobState,
    /// 0 before the first claim.
    pub attempt: Attempt,
    /// Attempts that count: those that a worker gave back unfinished do not.
    pub tries: u32,
    pub max_tries: u32,
    pub timeout_seconds: u64,
    pub cancel_requested: bool,
    /// Who has it, or had it last when it ended.
    pub worker: Option<String>,
    pub lease_until: Option<Timestamp>,
    /// Of the last attempt.
    pub progress: Option<Progress>,
    /// Why the last attempt ended badly; also while the job is queued again.
    pub failure: Option<FailureReport>,
    /// Set exactly when the job succeeded.
    pub completion: Option<CompletionRecord>,
    pub created_at: Timestamp,
    /// Of the last attempt.
    pub started_at: Option<Timestamp>,
    pub finished_at: Option<Timestamp>,
}

/// What a worker made of a job.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CompletionRecord {
    pub outputs: Vec<OutputDone>,
    pub infotexts: Vec<String>,
    pub timings: Timings,
}

impl From<Completion> for CompletionRecord {
    fn from(done: Completion) -> Self {
        let Completion { attempt: _, outputs, infotexts, timings } = done;
        Self { outputs, infotexts, timings }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_state_has_a_word_that_reads_back() {
        for state in JobState::ALL {
            assert_eq!(state.as_str().parse(), Ok(state));
        }
        assert!("Queued".parse::<JobState>().is_err());
    }
}
