//! Easel's two stores. [`jobs`] keeps every accepted job until it is finished and forgotten, in SQLite or
//! PostgreSQL; [`objects`] keeps bytes, in the embedded S3 or any other. Neither knows Kubernetes, a REST
//! dialect or who may call.

pub mod jobs;
pub mod objects;

pub use jobs::{Attempt, Job, JobId, JobState, JobStore, Sha256};
pub use objects::{Audience, EmbeddedS3, ObjectKey, ObjectStore, S3Store};
