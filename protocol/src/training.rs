//! The trainer's part of the worker protocol, and the result it leaves in its termination message.
//!
//! | call | answers |
//! |---|---|
//! | `POST /worker/v1/training/claim` | 200 [`TrainTask`], 409 when there is nothing to train |
//! | `POST /worker/v1/training/progress` [`TrainProgress`] | 204 |
//! | `POST /worker/v1/training/checkpoint` [`CheckpointRequest`] | 200 [`CheckpointPlan`]: where the files go |
//! | `POST /worker/v1/training/checkpoint/complete` [`CheckpointDone`] | 204; older checkpoints than are to be kept are deleted |
//! | `POST /worker/v1/training/samples` [`SamplesRequest`] | 200 [`SamplesPlan`] |
//! | `POST /worker/v1/training/samples/complete` [`SamplesDone`] | 204 |
//! | `POST /worker/v1/training/store` [`StoreRequest`](crate::import::StoreRequest) | 200 [`StorePlan`]: where the result goes; one that is there already needs none |
//! | `POST /worker/v1/training/store/complete` [`StoreDone`] | 204 |
//! | `POST /worker/v1/dataset/items` | see [`crate::dataset`] |
//!
//! All may be repeated. A checkpoint counts once it is completed: a trainer that dies before leaves the one before.

use serde::{Deserialize, Serialize};

use crate::FailureReport;
use crate::import::{ImportedFile, StoreDone, StorePlan};
use crate::worker::ModelFile;

pub const CLAIM_TRAINING_PATH: &str = "/worker/v1/training/claim";
pub const TRAINING_PROGRESS_PATH: &str = "/worker/v1/training/progress";
pub const CHECKPOINT_PATH: &str = "/worker/v1/training/checkpoint";
pub const COMPLETE_CHECKPOINT_PATH: &str = "/worker/v1/training/checkpoint/complete";
pub const SAMPLES_PATH: &str = "/worker/v1/training/samples";
pub const COMPLETE_SAMPLES_PATH: &str = "/worker/v1/training/samples/complete";
pub const STORE_TRAINED_PATH: &str = "/worker/v1/training/store";
pub const COMPLETE_TRAINED_PATH: &str = "/worker/v1/training/store/complete";

/// Files of one checkpoint, at most.
pub const MAX_CHECKPOINT_FILES: usize = 8;

/// What to train, complete: no field is left to a default of the trainer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TrainTask {
    /// Name of the TrainingJob.
    pub job: String,
    pub method: TrainMethod,
    /// Name of the base Model.
    pub base_model: String,
    /// Its files: one checkpoint, or a folder in the layout of diffusers.
    pub base: Vec<ModelFile>,
    pub concepts: Vec<TrainConcept>,
    pub hyperparameters: TrainHyperparameters,
    pub checkpoints: CheckpointPolicy,
    pub samples: Option<SamplePolicy>,
    pub output: TrainOutput,
    /// The checkpoint to go on from.
    pub resume: Option<StoredState>,
}

/// What becomes variables.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all_fields = "camelCase")]
pub enum TrainMethod {
    Lora {
        rank: u32,
        alpha: f64,
        text_encoder_rank: u32,
        /// Beside convolutions of residual blocks: rank and alpha.
        conv: Option<(u32, f64)>,
        attention_only: bool,
        /// 0 to below 1.
        dropout: f64,
    },
    DreamBooth,
    TextualInversion {
        token: String,
        vectors: u32,
        initializer_text: String,
    },
    Hypernetwork {
        /// Width of the hidden layer as a multiple of the context's.
        hidden_multiplier: f64,
        /// `linear`, `relu`, `leakyrelu`, `swish`.
        activation: String,
        layer_norm: bool,
    },
    FullFineTune,
}

/// One thing that is taught.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TrainConcept {
    /// Name of the Dataset with its pictures.
    pub dataset: String,
    /// Caption of pictures that have none of their own.
    pub instance_prompt: String,
    pub repeats: u32,
    /// Set: pictures of the class are shown beside those of the concept.
    pub class: Option<ClassConcept>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ClassConcept {
    pub prompt: String,
    pub negative_prompt: String,
    /// Name of the Dataset with the pictures.
    pub dataset: Option<String>,
    /// Pictures that there are to be for each of the concept; what the Dataset lacks is drawn with the base.
    pub pictures_per_picture: u32,
}

/// Parameters of the optimisation.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TrainHyperparameters {
    pub length: TrainLength,
    /// Pictures per forward pass.
    pub batch_size: u32,
    pub gradient_accumulation_steps: u32,
    pub gradient_checkpointing: bool,
    /// Pixels of a square picture's side.
    pub resolution: u32,
    pub learning_rate: f64,
    /// Unset: text encoders are not trained.
    pub text_encoder_learning_rate: Option<f64>,
    /// Of the run, from its begin, 0 to 100.
    pub text_encoder_percent: u32,
    pub schedule: LearningRateSchedule,
    pub warmup_steps: u32,
    pub optimizer: Optimizer,
    pub weight_decay: f64,
    pub max_gradient_norm: f64,
    /// Of activations and gradients; unset: the device's best.
    pub precision: Option<TrainPrecision>,
    pub seed: u64,
    /// 1 = the last layer of the text encoder.
    pub clip_skip: u32,
    pub exponential_moving_average: bool,
    pub prior_loss_weight: f64,
    pub noise_offset: f64,
    pub min_snr_gamma: Option<f64>,
    /// 0 to 100.
    pub caption_dropout_percent: u32,
    pub shuffle_captions: bool,
    pub keep_tokens: u32,
    pub aspect_ratio_buckets: bool,
    pub random_crop: bool,
    pub horizontal_flip: bool,
}

/// How long a run is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum TrainLength {
    /// Steps of the optimiser.
    Steps(u32),
    /// Rounds over all pictures.
    Epochs(u32),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum LearningRateSchedule {
    Constant,
    Linear,
    Cosine,
    CosineWithRestarts,
    Polynomial,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Optimizer {
    AdamW,
    AdamW8Bit,
    Adafactor,
    Sgd,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum TrainPrecision {
    F32,
    F16,
    Bf16,
}

/// When the state is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CheckpointPolicy {
    pub every_steps: u32,
    pub keep: u32,
}

/// Which pictures are made along the way.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SamplePolicy {
    pub every_steps: u32,
    pub prompts: Vec<String>,
    pub seed: u64,
    /// Of the sampler.
    pub steps: u32,
}

/// What the result is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TrainOutput {
    /// E.g. `style.safetensors`.
    pub file_name: String,
    /// Of the stored numbers.
    pub precision: TrainPrecision,
}

/// A checkpoint in the object store.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct StoredState {
    pub step: u64,
    pub files: Vec<StateFile>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct StateFile {
    /// E.g. `step-000500.safetensors`.
    pub name: String,
    pub size_bytes: u64,
    /// Presigned GET.
    pub url: String,
}

/// How far it is.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TrainProgress {
    pub stage: TrainStage,
    /// Of a stage other than `Training`: files, pictures or bytes.
    pub done: u64,
    pub total: u64,
    /// Optimiser steps that are done, and all; 0 before they are known.
    pub step: u64,
    pub total_steps: u64,
    /// From 1.
    pub epoch: u32,
    /// Smoothed over the last steps.
    pub loss: Option<f64>,
    pub milli_seconds_per_step: Option<u64>,
    /// Until the last step.
    pub eta_seconds: Option<u64>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum TrainStage {
    /// Base, pictures and checkpoint are fetched.
    #[default]
    Downloading,
    /// Pictures of the class are drawn with the base.
    ClassPictures,
    /// Pictures become latents.
    Encoding,
    Training,
    /// The result goes into the store.
    Storing,
}

impl TrainStage {
    /// The word in the API.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Downloading => "Downloading",
            Self::ClassPictures => "ClassPictures",
            Self::Encoding => "Encoding",
            Self::Training => "Training",
            Self::Storing => "Storing",
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CheckpointRequest {
    pub step: u64,
    /// At most [`MAX_CHECKPOINT_FILES`].
    pub files: Vec<CheckpointFile>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CheckpointFile {
    /// A plain file name.
    pub name: String,
    pub size_bytes: u64,
}

/// One plan for each file of the request, in its order.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CheckpointPlan {
    pub files: Vec<StorePlan>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CheckpointDone {
    pub step: u64,
    /// One for each plan, in its order.
    pub files: Vec<StoreDone>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SamplesRequest {
    pub step: u64,
    /// Pictures, one for each prompt of the task.
    pub count: u32,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SamplesPlan {
    pub pictures: Vec<SampleSlot>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SampleSlot {
    pub key: String,
    /// Presigned PUT, signed for `content-type: image/png`.
    pub url: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SamplesDone {
    pub step: u64,
    pub count: u32,
}

/// The trainer's termination message, as JSON: at most 4096 bytes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum TrainResult {
    Succeeded(TrainedFile),
    /// Suspended, drained or ended by a signal: the state is stored, and another pod goes on.
    Interrupted {
        step: u64,
    },
    Failed(FailureReport),
}

/// What the operator writes into the TrainingJob's status.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TrainedFile {
    pub file: ImportedFile,
    pub steps: u64,
    /// Of the last step.
    pub loss: Option<f64>,
}
