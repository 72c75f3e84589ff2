//! Checkpoints on their way into the object store.

use std::collections::BTreeSet;

use axum::Json;
use axum::extract::State;
use easel_crds::common::Time;
use easel_crds::training_job::{StoredCheckpoint, TrainingJobStatus};
use easel_protocol::import::StoreDone;
use easel_protocol::training::{CheckpointDone, CheckpointPlan, CheckpointRequest, MAX_CHECKPOINT_FILES};
use easel_store::objects::ObjectKey;
use http::StatusCode;
use jiff::Timestamp;

use super::claim::{folder, own_training};
use super::states::{self, is_card};
use crate::app::App;
use crate::catalog::{StatusPart, TrainingView};
use crate::folders::{STEPS_END, step_name};
use crate::worker_api::content;
use crate::worker_api::error::WorkerError;
use crate::worker_api::identity::Trainer;
use crate::worker_api::json::WorkerJson;

/// The file with the loss of each step.
const LOSSES: &str = "losses.csv";
const MAX_NAME: usize = 128;

/// Where the files go.
pub(super) async fn plan(
    trainer: Trainer,
    State(app): State<App>,
    WorkerJson(request): WorkerJson<CheckpointRequest>,
) -> Result<Json<CheckpointPlan>, WorkerError> {
    let job = own_training(&app, &trainer)?;
    let names: Vec<&str> = request.files.iter().map(|file| file.name.as_str()).collect();
    check_names(&names)?;
    let mut keys = Vec::new();
    // All are checked before the first upload is begun.
    for file in &request.files {
        content::check_size(&app, file.size_bytes)?;
        keys.push((key(&job, request.step, &file.name)?, file.size_bytes));
    }
    let mut files = Vec::new();
    for (key, size) in keys {
        files.push(content::plan(&app, &key, size).await?);
    }
    Ok(Json(CheckpointPlan { files }))
}

fn check_names(names: &[&str]) -> Result<(), WorkerError> {
    let wrong = |problem: String| Err(WorkerError::Input(problem));
    if names.is_empty() || names.len() > MAX_CHECKPOINT_FILES {
        return wrong(format!("{} files; 1 to {MAX_CHECKPOINT_FILES} are allowed", names.len()));
    }
    let plain = |name: &str| {
        !name.is_empty()
            && name.len() <= MAX_NAME
            && !name.starts_with('.')
            && name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_'))
    };
    if let Some(name) = names.iter().find(|name| !plain(name)) {
        let shown: String = name.chars().take(80).collect();
        return wrong(format!("{shown:?} is no plain file name of at most {MAX_NAME} characters"));
    }
    if names.iter().collect::<BTreeSet<_>>().len() < names.len() {
        return wrong("two files have the same name".to_owned());
    }
    if !names.iter().any(|name| is_card(name)) {
        return wrong("no file is a card, *.json: a checkpoint would never count as whole".to_owned());
    }
    Ok(())
}

fn key(job: &TrainingView, step: u64, name: &str) -> Result<ObjectKey, WorkerError> {
    if step >= STEPS_END {
        return Err(WorkerError::Input(format!("step is {step}; at most {} is allowed", STEPS_END - 1)));
    }
    let key = format!("{}{}/{name}", folder(job), step_name(step));
    key.parse().map_err(|_| WorkerError::Input(format!("{name:?} cannot be part of an object's key")))
}

/// The files are there: makes objects of them, the card last, says so in the status, and deletes what is too old.
/// May be repeated; a crash in between leaves a checkpoint without a card, or one more than is to be kept.
pub(super) async fn complete(
    trainer: Trainer,
    State(app): State<App>,
    WorkerJson(CheckpointDone { step, files }): WorkerJson<CheckpointDone>,
) -> Result<StatusCode, WorkerError> {
    let job = own_training(&app, &trainer)?;
    let mut files = named(&job, step, files)?;
    files.sort_by_key(|(name, _, _)| is_card(name));
    let mut status = TrainingJobStatus::default();
    for (name, key, done) in files {
        content::finish(&app, &key, done).await?;
        if name == LOSSES {
            status.losses = Some(key.as_str().to_owned());
        }
        if is_card(&name) {
            let key = key.as_str().to_owned();
            let step = u32::try_from(step).unwrap_or(u32::MAX);
            status.checkpoint = Some(StoredCheckpoint { step, key, time: Time(Timestamp::now()) });
        }
    }
    app.cluster.report_training(&job.namespace, &job.name, StatusPart::Checkpoint, &status).await?;
    tracing::info!(namespace = job.namespace, training = job.name, step, "a checkpoint is stored");
    states::prune(&app, &folder(&job), job.checkpoints.keep).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// The files with their names, if every key is one of this run and this step.
fn named(
    job: &TrainingView,
    step: u64,
    files: Vec<StoreDone>,
) -> Result<Vec<(String, ObjectKey, StoreDone)>, WorkerError> {
    let mut found = Vec::new();
    for done in files {
        let name = done.key.rsplit('/').next().unwrap_or_default().to_owned();
        let key = key(job, step, &name)?;
        if key.as_str() != done.key {
            return Err(WorkerError::Input("the key is none that was given out for this step".into()));
        }
        found.push((name, key, done));
    }
    check_names(&found.iter().map(|(name, _, _)| name.as_str()).collect::<Vec<_>>())?;
    Ok(found)
}
