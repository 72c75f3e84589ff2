//! What went wrong in a pod, read from its status by a list of small checks.

mod checks;
mod failure;

pub use failure::{PodFailure, current_failure, is_live};
