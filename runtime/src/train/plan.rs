//! All that a training is told.

use std::collections::BTreeMap;
use std::path::PathBuf;

use easel_diffusion::Sampler;
use easel_diffusion::train::data::{Concept, DatasetOptions};
use easel_diffusion::train::run::{BatchOptions, RunOptions};
use easel_diffusion::train::{GradientCheckpointing, Method, Objective, SavePrecision};

/// From which files to which, and how.
#[derive(Debug, Clone)]
pub struct TrainPlan {
    /// Checkpoint: a file, or a folder in the layout of diffusers.
    pub base: PathBuf,
    pub method: Method,
    pub objective: Objective,
    /// Time or memory; a run may go on with the other.
    pub checkpointing: GradientCheckpointing,
    /// Folders of pictures; class pictures that are drawn here come on top.
    pub concepts: Vec<Concept>,
    /// Of as many subjects: each has pictures of its own class beside it.
    pub classes: Vec<ClassPictures>,
    pub dataset: DatasetOptions,
    pub batches: BatchOptions,
    pub run: RunOptions,
    /// Rounds over all pictures; they decide the steps in place of [`RunOptions::steps`].
    pub epochs: Option<u32>,
    /// Folder that keeps latents from run to run.
    pub latents: Option<PathBuf>,
    pub samples: Option<SamplePlan>,
    /// File to write.
    pub out: PathBuf,
    pub precision: SavePrecision,
    /// Told to whoever reads the file, besides what every training says.
    pub metadata: BTreeMap<String, String>,
}

/// Pictures of what is not to be forgotten, drawn with the base.
#[derive(Debug, Clone, PartialEq)]
pub struct ClassPictures {
    pub prompt: String,
    pub negative_prompt: String,
    /// Pictures that somebody chose, which come first; nothing is drawn there.
    pub given: Option<PathBuf>,
    /// Where pictures are drawn; those that are there already count.
    pub folder: PathBuf,
    /// Pictures that there are to be in both folders together.
    pub count: usize,
    pub steps: u32,
    pub guidance_scale: f32,
}

/// Sampling steps of a drawn picture where nobody says another number.
pub const DRAWING_STEPS: u32 = 20;
/// Guidance of a drawn picture where nobody says another number.
pub const DRAWING_GUIDANCE: f32 = 7.0;
/// Sampler of a drawn picture where nobody says another one.
pub const DRAWING_SAMPLER: &str = "Euler a";

/// Pictures that show how far the training is.
#[derive(Debug, Clone, PartialEq)]
pub struct SamplePlan {
    pub prompts: Vec<String>,
    pub folder: PathBuf,
    pub width: u32,
    pub height: u32,
    pub steps: u32,
    pub guidance_scale: f32,
    pub sampler: Sampler,
    pub seed: u64,
}
