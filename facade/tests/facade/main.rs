//! The facade from outside: real router, real SQLite job store, real embedded object store; only the
//! Kubernetes API is replaced, by objects from YAML.

#![allow(clippy::unwrap_used, reason = "what is unwrapped here is what the test asserts")]

mod auth;
mod aws_datasets;
mod aws_training;
mod cluster;
mod datasets;
mod fixture;
mod garbage;
mod generate;
mod hostile;
mod imports;
mod internal;
mod jobs;
mod model_states;
mod networks;
mod objects;
mod tasks;
mod training;
mod uploads;
mod workers;
