//! What is told while a training runs.

use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use easel_diffusion::train::data::Duplicate;
use easel_diffusion::train::run::Progress;

use super::speed::Pace;

/// Something that happened.
#[derive(Debug, Clone, Copy)]
pub enum Event<'a> {
    /// Pictures of the class are drawn with the base.
    ClassPictures {
        done: usize,
        total: usize,
    },
    /// The base is in memory; `variables` numbers will be trained.
    Loaded {
        variables: u64,
    },
    Dataset {
        pictures: usize,
        batches_per_epoch: usize,
        duplicates: &'a [Duplicate],
    },
    /// Pictures become latents.
    Encoded {
        done: usize,
        total: usize,
    },
    Resumed {
        step: u64,
    },
    Step {
        progress: &'a Progress,
        pace: Option<Pace>,
    },
    Checkpoint {
        step: u64,
        path: &'a Path,
    },
    Samples {
        step: u64,
        paths: &'a [PathBuf],
    },
}

/// Hears of everything, and may end the training after a step or a picture.
pub trait Listener {
    /// `Break` ends the training, with a checkpoint if it keeps any.
    fn hear(&mut self, event: Event<'_>) -> ControlFlow<()>;
}
