//! The runtime against servers that speak the protocol, and against servers that do not.

#![allow(clippy::unwrap_used, reason = "a test ends where something is not as it has to be")]

mod checks;
mod cli;
mod downloads;
mod drawing;
mod import_files;
mod import_guard;
mod import_http;
mod import_merges;
mod import_results;
mod import_sources;
mod import_stored;
mod jobs;
mod kills;
mod leases;
mod models;
mod networks;
mod support;
mod training;
mod training_kills;
mod transfers;
