//! The job store: a queue with leases per endpoint, and the record of what became of each job.

mod cancel;
mod changes;
mod claim;
mod database;
mod error;
mod expire;
mod id;
mod job;
mod lease;
mod list;
mod log_sync;
mod orphans;
mod read;
mod retention;
mod row;
mod submit;
mod worker_models;

pub use cancel::Cancel;
pub use changes::Changes;
pub use claim::Claim;
pub use database::{JobStore, OpenOptions};
pub use error::{LeaseError, Refused, StoreError, SubmitError};
pub use expire::Expired;
pub use id::{Attempt, InvalidId, JobId, Sha256};
pub use job::{CompletionRecord, Job, JobState, NewJob, UnknownState};
pub use lease::{Holder, Renewed};
pub use list::{Cursor, InvalidCursor, JobFilter, JobPage};
pub use read::QueueFigures;
pub use retention::FinishedJob;
pub use submit::Submitted;
pub use worker_models::WorkerModels;
