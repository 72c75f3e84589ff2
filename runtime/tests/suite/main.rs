//! The runtime against servers that speak the protocol, and against servers that do not.

#![allow(clippy::unwrap_used, reason = "a test ends where something is not as it has to be")]

mod cli;
mod downloads;
mod import_guard;
mod import_http;
mod import_sources;
mod import_stored;
mod jobs;
mod leases;
mod models;
mod support;
