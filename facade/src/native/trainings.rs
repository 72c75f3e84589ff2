//! How far a TrainingJob is, with addresses of what it has made so far.

use axum::Json;
use axum::extract::{Path, State};
use serde::Serialize;

use super::error::NativeError;
use super::store::sign_get;
use crate::app::App;
use crate::auth::Caller;
use crate::catalog::{TrainingState, TrainingView};
use crate::folders;
use crate::http::origin::CallerAudience;

#[derive(Debug, Serialize)]
pub struct TrainingBody {
    name: String,
    /// `Suspended`, `Running`, `Complete` or `Failed`.
    state: &'static str,
    /// Of the condition Ready.
    reason: String,
    message: String,
    stage: Option<String>,
    stage_done: Option<u64>,
    stage_total: Option<u64>,
    step: Option<u32>,
    total_steps: Option<u32>,
    epoch: Option<u32>,
    loss: Option<String>,
    milliseconds_per_step: Option<u64>,
    eta_seconds: Option<u64>,
    /// The loss of each step, as CSV.
    losses_url: Option<String>,
    /// The newest first.
    samples: Vec<SampleBody>,
    /// Name of the Model that is made.
    model: String,
    last_failure: Option<String>,
}

#[derive(Debug, Serialize)]
pub struct SampleBody {
    step: u32,
    prompt: String,
    url: String,
}

/// `GET /easel/v1/trainings/{name}`
pub(super) async fn get(
    State(app): State<App>,
    caller: Caller,
    CallerAudience(audience): CallerAudience,
    Path(name): Path<String>,
) -> Result<Json<TrainingBody>, NativeError> {
    if !app.directory.training_known() {
        return Err(NativeError::NotSynced);
    }
    let job = app.directory.training(&caller.namespace, &name);
    let job = job.ok_or_else(|| NativeError::NoTraining(name.chars().take(80).collect()))?;
    // The status names keys; only those of this run are given out.
    let folder = folders::training_folder(&job.namespace, &job.name, &job.uid);
    let losses_url = match job.losses.as_deref().filter(|key| key.starts_with(&folder)) {
        Some(key) => sign_get(&app, key, &audience).await?,
        None => None,
    };
    let mut samples = Vec::new();
    for picture in job.pictures.iter().filter(|picture| picture.key.starts_with(&folder)) {
        if let Some(url) = sign_get(&app, &picture.key, &audience).await? {
            samples.push(SampleBody { step: picture.step, prompt: picture.prompt.clone(), url });
        }
    }
    Ok(Json(body(job, losses_url, samples)))
}

fn body(job: TrainingView, losses_url: Option<String>, samples: Vec<SampleBody>) -> TrainingBody {
    let figures = job.figures;
    TrainingBody {
        name: job.name,
        state: match job.state {
            TrainingState::Held => "Suspended",
            TrainingState::Going => "Running",
            TrainingState::Complete => "Complete",
            TrainingState::Failed => "Failed",
        },
        reason: job.ready.reason,
        message: job.ready.message,
        stage: figures.stage,
        stage_done: figures.stage_done,
        stage_total: figures.stage_total,
        step: figures.step,
        total_steps: figures.total_steps,
        epoch: figures.epoch,
        loss: figures.loss,
        milliseconds_per_step: figures.milli_seconds_per_step,
        eta_seconds: figures.eta_seconds,
        losses_url,
        samples,
        model: job.output_model,
        last_failure: job.last_failure,
    }
}
