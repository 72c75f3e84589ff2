//! `run-training`: what the pod of a TrainingJob runs. It claims its task from the facade, fetches base, pictures and
//! checkpoint, trains by the same path as the command line (`crate::train`), and brings checkpoints, sample pictures
//! and the result into the object store.
//!
//! A checkpoint counts once the facade knows that it is whole. A trainer that dies at any moment is followed by another
//! that goes on from the last one and makes the same file, bit for bit on the same kind of machine.

mod base;
mod checkpoints;
mod config;
mod error;
mod flow;
mod folder;
mod listener;
mod losses;
mod memory;
mod meter;
mod pictures;
mod resume;
mod samples;
mod settings;
mod storing;

pub use config::TrainerConfig;
pub use error::TrainerError;
pub use flow::{Ended, run_training};
