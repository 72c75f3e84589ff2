//! What every listener has: connections and their end, request ids, logs, metrics, time-outs, paths.
//! Nothing here knows a dialect.

pub mod body;
pub mod middleware;
pub mod origin;
pub mod path;
pub mod server;
