//! Taking a job: the way from a translated request to a row in the job store. No dialect in here.

mod error;
mod find;
mod networks;
mod submit;

pub use error::{SubmitError, UnusableModel, WhyUnusable};
pub use networks::UsedNetwork;
pub use submit::{Resolved, Wish, submit};
