//! Why a training ended without its result.

use std::path::PathBuf;

use easel_diffusion::InspectError;
use easel_protocol::FailureReport;

use crate::cache::CacheError;
use crate::dataset::PicturesError;
use crate::facade::CallError;
use crate::fetch::FetchError;
use crate::train::TrainFailure;
use crate::upload::UploadError;

#[derive(Debug, thiserror::Error)]
pub enum TrainerError {
    #[error("the facade has nothing to train for this Job")]
    NothingToTrain { source: CallError },
    #[error("the training cannot go on without the facade")]
    Facade { source: CallError },
    #[error("cannot set up the HTTP client")]
    Client { source: reqwest::Error },
    #[error("{field} is {value}; {allowed}")]
    Setting { field: &'static str, value: String, allowed: String },
    #[error("the base {model} cannot be fetched")]
    Base { model: String, source: CacheError },
    #[error("the base {model} cannot be used")]
    BaseUnusable { model: String, source: Box<InspectError> },
    #[error(
        "{what} need {need} bytes, the working directory has {free} free; give the TrainingJob more room"
    )]
    NoRoom { what: &'static str, need: u64, free: u64 },
    #[error(
        "{what} takes at least {need} bytes of memory, {available} are left of the limit; raise the memory of the \
         TrainingJob's resources, use the optimizer AdamW8Bit or Adafactor, or train a Lora"
    )]
    Memory { what: String, need: u64, available: u64 },
    #[error(transparent)]
    Pictures(#[from] PicturesError),
    #[error("the Dataset {dataset} has no enabled picture; enable some or name another Dataset")]
    EmptyDataset { dataset: String },
    #[error("the picture {item} of the Dataset {dataset} {problem}; store it anew or disable the item")]
    Picture { dataset: String, item: String, reason: &'static str, problem: String },
    #[error("the checkpoint of step {step} cannot be fetched")]
    Checkpoint { step: u64, source: FetchError },
    #[error(
        "the checkpoint of step {step} is incomplete: the object store has no {name}; make a new TrainingJob"
    )]
    CheckpointIncomplete { step: u64, name: String },
    #[error("the facade's plan has {got} files, {asked} were asked for")]
    PlanMismatch { asked: usize, got: usize },
    #[error(transparent)]
    Upload(#[from] UploadError),
    #[error(transparent)]
    Train(Box<TrainFailure>),
    #[error("the training stopped")]
    Panicked { source: tokio::task::JoinError },
    #[error("cannot use {} in the working directory", path.display())]
    WorkDirectory { path: PathBuf, source: std::io::Error },
}

impl TrainerError {
    /// Stable CamelCase word.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::NothingToTrain { .. } => "NothingToTrain",
            Self::Facade { source } => source.reason(),
            Self::Client { .. } => "HttpClientFailed",
            Self::Setting { .. } => "InvalidOption",
            Self::Base { source, .. } => source.reason(),
            Self::BaseUnusable { source, .. } => source.reason(),
            Self::NoRoom { .. } => "NoDiskSpace",
            Self::Memory { .. } => "NotEnoughMemory",
            Self::Pictures(source) => source.reason(),
            Self::EmptyDataset { .. } => "EmptyDataset",
            Self::Picture { reason, .. } => reason,
            Self::Checkpoint { source, .. } => match source.reason() {
                // The "source" of an import is where a user pointed; here it is the object store.
                word @ ("NoDiskSpace" | "DiskWriteFailed") => word,
                _ => "StoreReadFailed",
            },
            Self::CheckpointIncomplete { .. } => "CheckpointDamaged",
            Self::PlanMismatch { .. } => "StorePlanInvalid",
            Self::Upload(source) => source.reason(),
            Self::Train(source) => source.reason(),
            Self::Panicked { .. } => "TrainerPanicked",
            Self::WorkDirectory { .. } => "WorkDirectoryUnusable",
        }
    }

    /// May the same training succeed later?
    pub fn retriable(&self) -> bool {
        match self {
            Self::Facade { source } => source.retriable(),
            Self::Base { source, .. } => source.retriable(),
            Self::BaseUnusable { source, .. } => source.retriable(),
            Self::Pictures(source) => source.retriable(),
            Self::Upload(source) => source.retriable(),
            Self::Train(source) => source.retriable(),
            // Another node may have the room; an address that ran out is followed by a fresh one.
            Self::NothingToTrain { .. }
            | Self::NoRoom { .. }
            | Self::Checkpoint { .. }
            | Self::PlanMismatch { .. }
            | Self::WorkDirectory { .. } => true,
            Self::Client { .. }
            | Self::Setting { .. }
            | Self::Memory { .. }
            | Self::EmptyDataset { .. }
            | Self::Picture { .. }
            | Self::CheckpointIncomplete { .. }
            | Self::Panicked { .. } => false,
        }
    }

    /// What the termination message says.
    pub fn report(&self) -> FailureReport {
        FailureReport::new(self.reason(), crate::error::chain(self), self.retriable())
    }
}

impl From<TrainFailure> for TrainerError {
    fn from(failure: TrainFailure) -> Self {
        Self::Train(Box::new(failure))
    }
}
