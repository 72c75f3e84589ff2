//! `serve`: the worker loop of an Endpoint's pod.

mod claims;
mod config;
mod health;
mod http;
mod job;
mod lease;
mod metrics;
mod models;
mod outputs;
mod serve;
mod shutdown;
mod states;
mod stop;

pub use config::ServeConfig;
pub use health::Health;
pub use metrics::Metrics;
pub(crate) use outputs::encode;
pub use serve::serve;
pub use shutdown::Shutdown;
