//! `import`: brings a Model's files into the object store, hashed and with their headers read.

mod check;
mod config;
mod content;
mod error;
mod fetching;
mod files;
mod finished;
mod flow;
mod folder;
mod intake;
mod keeping;
mod merging;
mod origins;
mod progress;
mod retry;
mod storing;
mod thumbnail;
mod unpack;

pub use config::ImportConfig;
pub use error::ImportError;
pub use flow::import;
pub use origins::OriginError;
pub(crate) use retry::Patience;
pub use unpack::UnpackError;
