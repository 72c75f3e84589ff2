//! Easel's facade: REST dialects, job queue and worker protocol over the stores and the Kubernetes API.
//!
//! Dialects translate; [`submission`], [`outputs`] and the stores below know none of them. What a client is
//! told is made in the dialect, what the log gets in [`http::middleware`].

pub mod app;
pub mod auth;
pub mod catalog;
pub mod collector;
pub mod config;
pub mod datasets;
pub mod dialects;
pub mod folders;
mod health;
pub mod http;
pub mod logging;
pub mod metrics;
mod native;
pub mod outputs;
mod parts;
pub mod router;
pub mod run;
pub mod submission;
pub mod tasks;
pub mod worker_api;

/// Chooses the process' one TLS implementation; later calls change nothing.
pub fn install_crypto() {
    // An error only says that it has been chosen already.
    let _ = rustls::crypto::ring::default_provider().install_default();
}
