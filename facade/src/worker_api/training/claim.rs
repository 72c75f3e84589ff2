//! What a trainer is to do, with every address it needs, and the checkpoint that it goes on from.

use axum::Json;
use axum::extract::State;
use easel_protocol::training::{StateFile, StoredState, TrainTask};
use easel_protocol::worker::ModelFile;
use easel_store::objects::{Audience, ResponseHeaders};

use super::states::{self, State as Stored};
use crate::app::App;
use crate::catalog::{TrainingState, TrainingView};
use crate::folders;
use crate::worker_api::error::WorkerError;
use crate::worker_api::identity::Trainer;
use crate::worker_api::models::{self, URL_LIFE};

/// The TrainingJob of a trainer.
///
/// # Errors
/// [`WorkerError::NotSynced`], [`WorkerError::NotKnown`]
pub(in crate::worker_api) fn own_training(app: &App, trainer: &Trainer) -> Result<TrainingView, WorkerError> {
    let Trainer { namespace, job } = trainer;
    if !app.directory.objects_known() || !app.directory.training_known() {
        return Err(WorkerError::NotSynced);
    }
    app.directory.training(namespace, job).ok_or_else(|| WorkerError::NotKnown {
        kind: "TrainingJob",
        namespace: namespace.clone(),
        name: job.clone(),
    })
}

/// The folder of everything that belongs to a run.
pub(super) fn folder(job: &TrainingView) -> String {
    folders::training_folder(&job.namespace, &job.name, &job.uid)
}

/// A job that is held is given out all the same: whether its pods may run is the operator's word, and this watch
/// may be behind it.
pub(super) async fn claim(trainer: Trainer, State(app): State<App>) -> Result<Json<TrainTask>, WorkerError> {
    let job = own_training(&app, &trainer)?;
    match job.state {
        TrainingState::Held | TrainingState::Going => {}
        TrainingState::Complete | TrainingState::Failed => {
            let message = format!("TrainingJob {}/{} is over", job.namespace, job.name);
            return Err(WorkerError::NotNow { reason: "TrainingOver", message });
        }
    }
    let base = base(&app, &job).await?;
    let resume = match states::list(&app, &folder(&job)).await?.into_iter().rfind(Stored::is_complete) {
        Some(found) => Some(sign(&app, found).await?),
        None => None,
    };
    Ok(Json(TrainTask {
        job: job.name,
        method: job.method,
        base_model: job.base_model,
        base,
        concepts: job.concepts,
        hyperparameters: job.hyperparameters,
        checkpoints: job.checkpoints,
        samples: job.samples,
        output: job.output,
        resume,
    }))
}

async fn base(app: &App, job: &TrainingView) -> Result<Vec<ModelFile>, WorkerError> {
    let model = app.directory.model(&job.namespace, &job.base_model);
    let model = model.filter(|model| model.ready.holds && !model.files.is_empty());
    let model = model.ok_or_else(|| WorkerError::NotNow {
        reason: "WaitingForModel",
        message: format!("Model {}/{} is not Ready (yet)", job.namespace, job.base_model),
    })?;
    let mut files = Vec::new();
    for file in &model.files {
        files.push(models::sign_file(app, model.name.clone(), file).await?);
    }
    Ok(files)
}

async fn sign(app: &App, found: Stored) -> Result<StoredState, WorkerError> {
    let mut files = Vec::new();
    for file in found.files {
        let headers = ResponseHeaders::default();
        let url = app.objects.presign_get(&file.key, &Audience::Worker, URL_LIFE, &headers).await?;
        files.push(StateFile { name: file.name, size_bytes: file.size, url: url.into_string() });
    }
    Ok(StoredState { step: found.step, files })
}
