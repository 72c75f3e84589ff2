//! What the Jobs of imports, trainings and checks have in common: when they are given up, how their names are made, and
//! how their end is read.

mod policy;
mod state;

pub use policy::{failure_policy, job_name};
pub use state::{JobResult, JobState, job_state, last_failure_of, pods_of};
