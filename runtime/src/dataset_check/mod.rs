//! `check-dataset`: looks at every enabled picture of a Dataset and reports what is wrong with which.

mod config;
mod error;
mod flow;
mod look;
mod report;

pub use config::CheckConfig;
pub use error::CheckError;
pub use flow::check;
