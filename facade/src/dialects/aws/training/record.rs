//! From a TrainingJob to this dialect's records of it.

use jiff::Timestamp;
use serde_json::Value;

use easel_protocol::training::TrainMethod;

use super::note::{TrainNote, read};
use super::wire::{TrainJob, TrainRecord};
use crate::catalog::{TrainingState, TrainingView};
use crate::folders;

/// Seconds since 1970.
pub(super) fn seconds(at: Timestamp) -> f64 {
    at.as_microsecond() as f64 / 1e6
}

pub(super) fn note(job: &TrainingView) -> TrainNote {
    read(job.note.as_deref())
}

/// A job that is held waits for `PUT /train`.
pub(super) fn status(job: &TrainingView) -> &'static str {
    match job.state {
        TrainingState::Held => "Initial",
        TrainingState::Going => "Training",
        TrainingState::Complete => "Complete",
        TrainingState::Failed => "Fail",
    }
}

/// The client's own word, or what its UI would send for the method.
pub(super) fn train_type(job: &TrainingView, note: &TrainNote) -> String {
    let of_method = match job.method {
        TrainMethod::Lora { .. } => "Lora",
        TrainMethod::DreamBooth | TrainMethod::FullFineTune => "Stable-diffusion",
        TrainMethod::TextualInversion { .. } => "embeddings",
        TrainMethod::Hypernetwork { .. } => "hypernetworks",
    };
    note.train_type.clone().unwrap_or_else(|| of_method.to_owned())
}

/// Where files go that come with the call: pictures into the folder of their Dataset, others into that of the run.
pub(super) fn input_location(job: &TrainingView, bucket: &str, dataset: Option<&str>) -> String {
    let folder = match dataset {
        Some(dataset) => folders::dataset_folder(&job.namespace, dataset),
        None => format!("{}input/", folders::training_folder(&job.namespace, &job.name, &job.uid)),
    };
    format!("s3://{bucket}/{}", folder.trim_end_matches('/'))
}

pub(super) fn job(view: &TrainingView, bucket: &str) -> TrainJob {
    let note = note(view);
    TrainJob {
        id: view.uid.clone(),
        status: status(view),
        created: seconds(view.created),
        train_type: train_type(view, &note),
        input_location: input_location(view, bucket, note.dataset.as_deref()),
        params: Value::Object(note.params),
        output_model: view.output_model.clone(),
    }
}

pub(super) fn listed(view: &TrainingView) -> TrainRecord {
    let note = note(view);
    let named = |part: &str| note.params.get(part)?.get("model_name")?.as_str().map(str::to_owned);
    let error = match (view.state, &view.last_failure) {
        (TrainingState::Failed, None) => Some(format!("{}: {}", view.ready.reason, view.ready.message)),
        (TrainingState::Failed | TrainingState::Going, failure) => failure.clone(),
        (TrainingState::Held | TrainingState::Complete, _) => None,
    };
    TrainRecord {
        id: view.uid.clone(),
        model_name: named("training_params")
            .or_else(|| named("train_params"))
            .unwrap_or_else(|| view.base_model.clone()),
        status: status(view),
        train_type: train_type(view, &note),
        created: seconds(view.created),
        sagemaker_train_name: view.job.clone().unwrap_or_default(),
        name: view.name.clone(),
        output_model: view.output_model.clone(),
        step: view.figures.step,
        total_steps: view.figures.total_steps,
        loss: view.figures.loss.clone(),
        error,
    }
}
