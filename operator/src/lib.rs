//! Easel's operator: turns Endpoints into Deployments, Models, TrainingJobs and Datasets into Jobs, and tells in their
//! status what became of them. Each kind has a folder with the same files: `dereference` (reads), `validate` and
//! `build` (pure), `apply` (writes), `derive_status` (pure), `update_status` (writes).

pub mod backoff;
pub mod catalogue;
pub mod children;
pub mod client;
pub mod conditions;
pub mod config;
pub mod context;
pub mod controller;
pub mod dataset;
pub mod endpoint;
pub mod error;
pub mod events;
pub mod health;
pub mod http;
pub mod jobs;
pub mod labels;
pub mod leader;
pub mod metrics;
pub mod model;
pub mod network;
pub mod objects;
pub mod placement;
pub mod pod_parts;
pub mod pods;
pub mod quantity;
pub mod run;
pub mod training;
