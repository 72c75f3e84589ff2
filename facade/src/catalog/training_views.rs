//! TrainingJobs and Datasets as the rest of the facade sees them.

use easel_protocol::training::{
    CheckpointPolicy, SamplePolicy, TrainConcept, TrainHyperparameters, TrainMethod, TrainOutput,
};
use jiff::Timestamp;

use super::views::{ConditionView, FileView};

/// Annotation in which a REST dialect keeps what the object has no field for, as JSON.
pub const NOTE_ANNOTATION: &str = "easel.dev/rest-note";

/// What a TrainingJob is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TrainingState {
    /// `spec.suspend` holds it.
    Held,
    /// It runs, or waits for something that may come.
    Going,
    Complete,
    /// Given up.
    Failed,
}

#[derive(Clone, Debug)]
pub struct TrainingView {
    pub namespace: String,
    pub name: String,
    pub uid: String,
    pub created: Timestamp,
    pub method: TrainMethod,
    /// Name of the base Model.
    pub base_model: String,
    pub concepts: Vec<TrainConcept>,
    /// The seed is set: the same for every attempt.
    pub hyperparameters: TrainHyperparameters,
    pub checkpoints: CheckpointPolicy,
    pub samples: Option<SamplePolicy>,
    pub output: TrainOutput,
    /// Name of the Model that is made.
    pub output_model: String,
    pub state: TrainingState,
    /// `Ready`, or its absence.
    pub ready: ConditionView,
    pub figures: TrainingFigures,
    /// Name of the batch/v1 Job, once there is one.
    pub job: Option<String>,
    /// The newest first.
    pub pictures: Vec<SampleView>,
    /// Key of the losses, as CSV.
    pub losses: Option<String>,
    pub result: Option<FileView>,
    /// The last failure as one sentence.
    pub last_failure: Option<String>,
    /// The text of [`NOTE_ANNOTATION`].
    pub note: Option<String>,
}

impl TrainingView {
    /// May it be read by this run: is it one of the concepts', or of their classes'?
    pub fn uses_dataset(&self, name: &str) -> bool {
        self.concepts.iter().any(|concept| {
            let class = concept.class.as_ref().and_then(|class| class.dataset.as_deref());
            concept.dataset == name || class == Some(name)
        })
    }
}

/// How far a run is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TrainingFigures {
    pub stage: Option<String>,
    pub stage_done: Option<u64>,
    pub stage_total: Option<u64>,
    pub step: Option<u32>,
    pub total_steps: Option<u32>,
    pub epoch: Option<u32>,
    pub loss: Option<String>,
    pub milli_seconds_per_step: Option<u64>,
    pub eta_seconds: Option<u64>,
}

/// A picture made along the way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SampleView {
    pub step: u32,
    pub prompt: String,
    pub key: String,
}

#[derive(Clone, Debug)]
pub struct DatasetView {
    pub namespace: String,
    pub name: String,
    pub uid: String,
    pub created: Timestamp,
    /// The name that REST clients use, and part of the keys of its pictures.
    pub dataset_name: String,
    pub description: Option<String>,
    pub enabled: bool,
    /// As in the spec; empty where there is a manifest.
    pub items: Vec<ItemView>,
    pub manifest: Option<ManifestView>,
    pub ready: ConditionView,
    pub counts: DatasetCounts,
    /// Key of the report.
    pub report: Option<String>,
    /// The text of [`NOTE_ANNOTATION`].
    pub note: Option<String>,
}

/// What the check of a Dataset has counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DatasetCounts {
    pub items: Option<u32>,
    pub enabled: Option<u32>,
    pub missing: Option<u32>,
    pub invalid: Option<u32>,
    pub duplicates: Option<u32>,
}

/// One picture of a Dataset.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ItemView {
    pub name: String,
    /// Unset: below the Dataset's own folder.
    pub key: Option<String>,
    pub sha256: Option<String>,
    pub size_bytes: Option<u64>,
    /// E.g. `image/png`.
    pub media_type: Option<&'static str>,
    pub caption: Option<String>,
    pub enabled: bool,
}

/// The object that lists the pictures of a long Dataset.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ManifestView {
    pub key: String,
    pub sha256: String,
}
