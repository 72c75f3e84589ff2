//! `import`: brings a Model's files into the object store, hashed and with their headers read.

mod check;
mod config;
mod error;
mod fetching;
mod flow;
mod origins;
mod progress;
mod retry;
mod storing;

pub use config::ImportConfig;
pub use error::ImportError;
pub use flow::import;
pub use origins::OriginError;
