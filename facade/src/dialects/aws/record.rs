//! From a job to this dialect's answers about it (specs/aws-extension.md §4.6).

use std::collections::BTreeMap;

use easel_protocol::Task;
use easel_protocol::worker::ImageFormat;
use easel_store::jobs::{Job, JobState};
use jiff::Timestamp;
use jiff::tz::TimeZone;

use super::wire::{
    InferenceStarted, JobParams, JobProgress, JobRecord, KeptParams, StartedInference, StartedModel,
    UsedModel,
};
use crate::catalog::{FileView, ModelView};
use crate::outputs;
use crate::submission::Resolved;

/// `2023-07-05 06:38:45.752740`, UTC.
pub(super) fn time(at: Timestamp) -> String {
    at.to_zoned(TimeZone::UTC).strftime("%Y-%m-%d %H:%M:%S.%6f").to_string()
}

/// `2023-07-05-06-38-49`, UTC.
fn complete_time(at: Timestamp) -> String {
    at.to_zoned(TimeZone::UTC).strftime("%Y-%m-%d-%H-%M-%S").to_string()
}

pub(super) fn task_type(task: Task) -> &'static str {
    match task {
        Task::TextToImage => "txt2img",
    }
}

/// This dialect's word for a Model's type, where it has one.
pub(super) fn type_word(model_type: &str) -> &str {
    match model_type {
        "Checkpoint" => "Stable-diffusion",
        "TextualInversion" => "embeddings",
        "Hypernetwork" => "hypernetworks",
        "Vae" => "VAE",
        other => other,
    }
}

/// What is kept with the job: the models as they were when it was taken.
pub(super) fn kept_params(resolved: &Resolved, bucket: &str) -> KeptParams {
    let mut used_models = BTreeMap::<String, Vec<UsedModel>>::new();
    let networks = resolved.networks.iter().map(|network| (&network.model, &network.file));
    for (model, file) in resolved.models.iter().map(|(model, file)| (model, file)).chain(networks) {
        let of_type = used_models.entry(type_word(&model.model_type).to_owned()).or_default();
        // An embedding may be there by several of its words.
        if of_type.iter().all(|other| other.id != model.uid) {
            of_type.push(used(model, file, bucket));
        }
    }
    KeptParams { endpoint_id: resolved.endpoint.uid.clone(), used_models }
}

fn used(model: &ModelView, file: &FileView, bucket: &str) -> UsedModel {
    let folder = file.key.rsplit_once('/').map_or("", |(folder, _)| folder);
    UsedModel {
        id: model.uid.clone(),
        model_name: model.display_name.clone(),
        s3: format!("s3://{bucket}/{folder}"),
        model_type: type_word(&model.model_type).to_owned(),
    }
}

/// What was kept with a job of this dialect; nothing if it cannot be read, since a list must not break on it.
pub(super) fn kept(job: &Job) -> KeptParams {
    serde_json::from_value(job.dialect_params.clone()).unwrap_or_default()
}

/// `<id>_param.json`
pub(super) fn param_name(job: &Job) -> String {
    format!("{}_param.json", job.id)
}

fn location(job: &Job, bucket: &str) -> String {
    format!("s3://{bucket}/{}", outputs::folder(job.id))
}

pub(super) fn started(job: &Job, kept: &KeptParams, bucket: &str) -> InferenceStarted {
    let output_path = location(job, bucket);
    let model = |used: &UsedModel| StartedModel {
        id: used.id.clone(),
        name: vec![used.model_name.clone()],
        model_type: used.model_type.clone(),
    };
    InferenceStarted {
        inference_id: job.id.to_string(),
        status: "inprogress",
        endpoint_name: job.endpoint.clone(),
        output_path: output_path.clone(),
        status_code: 200,
        inference: StartedInference {
            inference_id: job.id.to_string(),
            status: "inprogress",
            endpoint_name: job.endpoint.clone(),
            task_type: task_type(job.request.task).to_owned(),
            models: kept.used_models.values().flatten().map(model).collect(),
            api_params_s3_location: format!("{output_path}/{}", param_name(job)),
            output_path,
        },
    }
}

/// The names of the pictures in one format.
pub(super) fn image_names(job: &Job, format: ImageFormat) -> Vec<String> {
    (0..job.request.pictures()).map(|picture| outputs::image_name(picture, format)).collect()
}

pub(super) fn of(job: &Job, bucket: &str) -> JobRecord {
    let kept = kept(job);
    let succeeded = job.state == JobState::Succeeded;
    let output_path = location(job, bucket);
    JobRecord {
        inference_job_id: job.id.to_string(),
        start_time: time(job.created_at),
        complete_time: job.finished_at.filter(|_| succeeded).map(complete_time),
        task_type: task_type(job.request.task).to_owned(),
        status: status(job.state),
        params: JobParams {
            // The service keeps the client's own body; here the parameters stand beside the pictures.
            input_body_s3: format!("{output_path}/{}", param_name(job)),
            input_body_presign_url: String::new(),
            used_models: kept.used_models,
            sagemaker_inference_endpoint_id: kept.endpoint_id,
            sagemaker_inference_endpoint_name: job.endpoint.clone(),
            output_path,
        },
        image_names: succeeded.then(|| image_names(job, ImageFormat::Jpeg)),
        inference_info_name: succeeded.then(|| format!("/tmp/{}", param_name(job))),
        sagemaker_raw: raw(job),
        error: error(job),
        progress: progress(job),
    }
}

fn status(state: JobState) -> &'static str {
    match state {
        JobState::Queued | JobState::Running => "inprogress",
        JobState::Succeeded => "succeed",
        JobState::Failed | JobState::Cancelled => "failed",
    }
}

/// The worker's own report on a failed job, as JSON.
fn raw(job: &Job) -> String {
    let report = job.failure.as_ref().filter(|_| status(job.state) == "failed");
    report.and_then(|report| serde_json::to_string(report).ok()).unwrap_or_default()
}

fn error(job: &Job) -> Option<String> {
    match (job.state, &job.failure) {
        (JobState::Cancelled, _) => Some("Cancelled: the job was cancelled".to_owned()),
        (JobState::Failed, Some(failure)) => Some(format!("{}: {}", failure.reason, failure.message)),
        (JobState::Failed, None) => Some("Unknown: the job failed without a report".to_owned()),
        (JobState::Queued | JobState::Running | JobState::Succeeded, _) => None,
    }
}

fn progress(job: &Job) -> Option<JobProgress> {
    let running = job.progress.as_ref().filter(|_| job.state == JobState::Running)?;
    Some(JobProgress { stage: running.stage.clone(), done: running.done, total: running.total })
}
