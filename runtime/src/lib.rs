//! The server around the diffusion engine: the worker loop of an Endpoint's pods (`serve`), the importer of Models
//! (`import`), the trainer of TrainingJobs (`run-training`), the checker of Datasets (`check-dataset`), and the
//! commands that need no cluster (`generate`, `train`, `inspect`).
//!
//! The process holds no credentials but its token for the facade: every input and output is a presigned address.

pub mod backoff;
pub mod cache;
pub mod cli;
pub mod dataset;
pub mod dataset_check;
pub mod engine;
pub mod error;
pub mod facade;
pub mod fetch;
pub mod import;
pub mod net;
mod random;
pub mod termination;
pub mod train;
pub mod trainer;
pub mod upload;
pub mod worker;
