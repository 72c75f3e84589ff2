//! Jobs in the hands of workers: claim, heartbeat, complete, fail, release.

use std::time::Duration;

use axum::Json;
use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use easel_protocol::worker::{
    ClaimRequest, ClaimedJob, Completion, Heartbeat, HeartbeatReply, JobFailure, ModelFile, OutputSlot,
    Release,
};
use easel_protocol::{FailureReport, NetworkFile, NetworkRef};
use easel_store::jobs::{Attempt, Claim, CompletionRecord, Holder, Job, JobId, JobState, Refused, Sha256};
use easel_store::objects::Audience;
use http::StatusCode;
use jiff::Timestamp;
use tokio::time::Instant;
use tracing::Span;

use super::error::WorkerError;
use super::identity::Worker;
use super::json::WorkerJson;
use super::{models, verify};
use crate::app::App;
use crate::outputs;

/// Longest wait of one call.
const MOST_WAIT: Duration = Duration::from_secs(30);
/// A worker's upload may begin just before its time is up.
const UPLOAD_GRACE: Duration = Duration::from_secs(300);

/// The oldest job that is due, or 204 when none came in time.
pub(super) async fn claim(
    worker: Worker,
    State(app): State<App>,
    WorkerJson(request): WorkerJson<ClaimRequest>,
) -> Result<Response, WorkerError> {
    if !app.directory.objects_known() {
        return Err(WorkerError::NotSynced);
    }
    // What is no hash names no model; the job is found without it.
    let held: Vec<Sha256> = request.held.iter().filter_map(|hash| hash.parse().ok()).collect();
    let deadline = Instant::now() + Duration::from_secs(request.wait_seconds).min(MOST_WAIT);
    let mut changes = app.jobs.changes(&worker.namespace, &worker.endpoint);
    loop {
        let claim = Claim {
            namespace: &worker.namespace,
            endpoint: &worker.endpoint,
            worker: &worker.pod,
            held: &held,
            lease: app.config.lease,
        };
        // A process that ends gives out no more work; its workers find the next one.
        let claimed =
            if app.shutdown.is_cancelled() { None } else { app.jobs.claim(&claim, Timestamp::now()).await? };
        if let Some(job) = claimed {
            match hand_out(&app, &worker, &job).await? {
                Some(handed) => return Ok(Json(handed).into_response()),
                None => continue,
            }
        }
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() || app.shutdown.is_cancelled() {
            return Ok(StatusCode::NO_CONTENT.into_response());
        }
        tokio::select! {
            () = changes.wait(left) => {}
            () = app.shutdown.cancelled() => {}
        }
    }
}

/// The job with every URL that its worker needs. `None`: its model is gone, and so is the job.
async fn hand_out(app: &App, worker: &Worker, job: &Job) -> Result<Option<ClaimedJob>, WorkerError> {
    Span::current().record("job.id", job.id.to_string());
    let handed = sign(app, job).await;
    let failure = match handed {
        Ok(Signed::Whole(handed)) => {
            tracing::info!(endpoint = job.endpoint, attempt = job.attempt.0, "job handed out");
            return Ok(Some(*handed));
        }
        Ok(Signed::Gone { model }) => {
            let message = format!(
                "Model {}/{model} was deleted or has other bytes since the job was taken; send it again",
                job.namespace
            );
            FailureReport::new("ModelChanged", message, false)
        }
        Err(error) => {
            // The worker never saw it: it must not wait for the lease to run out, nor lose a try.
            app.jobs.release(&holder(worker, job.id, job.attempt), Timestamp::now()).await?;
            return Err(error);
        }
    };
    let state = app.jobs.fail(&holder(worker, job.id, job.attempt), &failure, Timestamp::now()).await?;
    count_end(app, job, state);
    Ok(None)
}

/// A job for a worker.
enum Signed {
    Whole(Box<ClaimedJob>),
    /// This Model no longer has the bytes that the job was taken for.
    Gone {
        model: String,
    },
}

async fn sign(app: &App, job: &Job) -> Result<Signed, WorkerError> {
    let gone = |model: &str| Ok(Signed::Gone { model: model.to_owned() });
    let Some(checkpoint) = file_of(app, job, &job.request.checkpoint, job.checkpoint.as_str()).await? else {
        return gone(&job.request.checkpoint);
    };
    let mut networks = Vec::new();
    for NetworkRef { kind, name, model, sha256 } in &job.request.networks {
        let Some(file) = file_of(app, job, model, sha256).await? else { return gone(model) };
        networks.push(NetworkFile { kind: *kind, name: name.clone(), file });
    }
    let expires = Duration::from_secs(job.timeout_seconds) + UPLOAD_GRACE;
    let mut slots = Vec::new();
    for (picture, format, name) in outputs::expected(&job.request) {
        let key = outputs::key(job.id, &name);
        let content_type = Some(format.content_type());
        let url = app.objects.presign_put(&key, &Audience::Worker, expires, content_type).await?;
        slots.push(OutputSlot { picture, format, name, url: url.into_string() });
    }
    Ok(Signed::Whole(Box::new(ClaimedJob {
        id: job.id.to_string(),
        attempt: job.attempt.0,
        lease_seconds: app.config.lease.as_secs(),
        timeout_seconds: job.timeout_seconds,
        request: job.request.clone(),
        checkpoint,
        networks,
        outputs: slots,
    })))
}

/// The Model's file of that hash, for a pod.
async fn file_of(app: &App, job: &Job, model: &str, sha256: &str) -> Result<Option<ModelFile>, WorkerError> {
    let found = app.directory.model(&job.namespace, model);
    let file = found.as_ref().and_then(|found| found.files.iter().find(|file| file.sha256 == sha256));
    match file {
        Some(file) => models::sign_file(app, model.to_owned(), file).await.map(Some),
        None => Ok(None),
    }
}

fn holder(worker: &Worker, id: JobId, attempt: Attempt) -> Holder<'_> {
    Holder { id, attempt, worker: &worker.pod }
}

/// The job that a worker speaks of, if it is one of its own endpoint.
async fn own_job(app: &App, worker: &Worker, id: &str, attempt: u32) -> Result<Job, WorkerError> {
    let shown = || id.chars().take(80).collect::<String>();
    Span::current().record("job.id", shown());
    let parsed: JobId =
        id.parse().map_err(|_| WorkerError::Input(format!("\"{}\" is no job id", shown())))?;
    let job = app.jobs.find(parsed).await?;
    let job = job.ok_or(Refused::Unknown { id: parsed, attempt: Attempt(attempt) })?;
    if job.namespace != worker.namespace || job.endpoint != worker.endpoint {
        return Err(WorkerError::OtherEndpoint { job: shown() });
    }
    Ok(job)
}

/// Renews the lease; carries progress in and a wish to cancel out.
pub(super) async fn heartbeat(
    worker: Worker,
    State(app): State<App>,
    Path(id): Path<String>,
    WorkerJson(beat): WorkerJson<Heartbeat>,
) -> Result<Json<HeartbeatReply>, WorkerError> {
    let job = own_job(&app, &worker, &id, beat.attempt).await?;
    let holder = holder(&worker, job.id, Attempt(beat.attempt));
    let renewed = app.jobs.heartbeat(&holder, &beat.progress, app.config.lease, Timestamp::now()).await?;
    Ok(Json(HeartbeatReply { cancel: renewed.cancel, lease_seconds: app.config.lease.as_secs() }))
}

/// The job has succeeded: its outputs are seen in the object store, its document is written, and only then
/// the state changes. A crash in between leaves a running job, whose worker says so again.
pub(super) async fn complete(
    worker: Worker,
    State(app): State<App>,
    Path(id): Path<String>,
    WorkerJson(completion): WorkerJson<Completion>,
) -> Result<StatusCode, WorkerError> {
    let job = own_job(&app, &worker, &id, completion.attempt).await?;
    let attempt = Attempt(completion.attempt);
    let record = CompletionRecord::from(completion);
    // A stale or repeated call changes nothing, so there is nothing to verify; the store answers it.
    let current = job.state == JobState::Running && job.attempt == attempt;
    if current {
        verify::outputs(&app, &job, &record).await?;
        verify::write_document(&app, &job, &record).await?;
    }
    app.jobs.complete(&holder(&worker, job.id, attempt), &record, Timestamp::now()).await?;
    if current {
        count_end(&app, &job, JobState::Succeeded);
        let timings = record.timings;
        tracing::info!(
            endpoint = job.endpoint,
            attempt = attempt.0,
            load_ms = timings.load_ms,
            generate_ms = timings.generate_ms,
            upload_ms = timings.upload_ms,
            "job succeeded"
        );
    }
    Ok(StatusCode::NO_CONTENT)
}

/// The attempt did not end well.
pub(super) async fn fail(
    worker: Worker,
    State(app): State<App>,
    Path(id): Path<String>,
    WorkerJson(JobFailure { attempt, failure }): WorkerJson<JobFailure>,
) -> Result<StatusCode, WorkerError> {
    let job = own_job(&app, &worker, &id, attempt).await?;
    // Whatever a pod writes is cut to the length that a status can show.
    let failure = FailureReport::new(&failure.reason, failure.message, failure.retriable);
    let state = app.jobs.fail(&holder(&worker, job.id, Attempt(attempt)), &failure, Timestamp::now()).await?;
    count_end(&app, &job, state);
    tracing::warn!(endpoint = job.endpoint, attempt, reason = failure.reason, %state, "an attempt at a job failed");
    Ok(StatusCode::NO_CONTENT)
}

/// The worker goes away; another one may have the job at once.
pub(super) async fn release(
    worker: Worker,
    State(app): State<App>,
    Path(id): Path<String>,
    WorkerJson(Release { attempt }): WorkerJson<Release>,
) -> Result<StatusCode, WorkerError> {
    let job = own_job(&app, &worker, &id, attempt).await?;
    app.jobs.release(&holder(&worker, job.id, Attempt(attempt)), Timestamp::now()).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Counts a job that is finished now.
pub(crate) fn count_end(app: &App, job: &Job, state: JobState) {
    if state.is_finished() {
        app.metrics.finished(&job.namespace, &job.endpoint, state.as_str());
    }
}
