//! Pictures made along the way.

use axum::Json;
use axum::extract::State;
use easel_crds::training_job::{SamplePicture, TrainingJobStatus};
use easel_protocol::training::{SampleSlot, SamplesDone, SamplesPlan, SamplesRequest};
use easel_store::objects::{Audience, ObjectKey};
use http::StatusCode;

use super::claim::{folder, own_training};
use crate::app::App;
use crate::catalog::{StatusPart, TrainingView};
use crate::folders::{STEPS_END, step_name, step_of};
use crate::worker_api::error::WorkerError;
use crate::worker_api::identity::Trainer;
use crate::worker_api::json::WorkerJson;
use crate::worker_api::models::URL_LIFE;

const CONTENT_TYPE: &str = "image/png";
/// Pictures that a status shows, by its schema.
const SHOWN: u64 = 32;
/// A picture of 2048 pixels a side without any compression fits.
const MOST_BYTES: u64 = 32 << 20;
const PAGE: u32 = 1000;

/// Where the pictures go.
pub(super) async fn plan(
    trainer: Trainer,
    State(app): State<App>,
    WorkerJson(SamplesRequest { step, count }): WorkerJson<SamplesRequest>,
) -> Result<Json<SamplesPlan>, WorkerError> {
    let job = own_training(&app, &trainer)?;
    let mut pictures = Vec::new();
    for key in keys(&job, step, count)? {
        let url = app.objects.presign_put(&key, &Audience::Worker, URL_LIFE, Some(CONTENT_TYPE)).await?;
        pictures.push(SampleSlot { key: key.as_str().to_owned(), url: url.into_string() });
    }
    Ok(Json(SamplesPlan { pictures }))
}

fn keys(job: &TrainingView, step: u64, count: u32) -> Result<Vec<ObjectKey>, WorkerError> {
    let most = job.samples.as_ref().map_or(0, |samples| samples.prompts.len());
    if count == 0 || usize::try_from(count).is_ok_and(|count| count > most) || step >= STEPS_END {
        let message = format!("{count} pictures of step {step}; the TrainingJob asks for {most} per step");
        return Err(WorkerError::Input(message));
    }
    let begin = format!("{}samples/{}", folder(job), step_name(step));
    let key = |picture| {
        format!("{begin}-{picture}.png").parse().map_err(|_| {
            WorkerError::Input("the names of the TrainingJob cannot be part of an object's key".into())
        })
    };
    (0..count).map(key).collect()
}

/// The pictures are there: shows the newest ones in the status. May be repeated.
pub(super) async fn complete(
    trainer: Trainer,
    State(app): State<App>,
    WorkerJson(SamplesDone { step, count }): WorkerJson<SamplesDone>,
) -> Result<StatusCode, WorkerError> {
    let job = own_training(&app, &trainer)?;
    for key in keys(&job, step, count)? {
        match app.objects.head(&key).await?.map(|meta| meta.size) {
            Some(1..=MOST_BYTES) => {}
            Some(size) => {
                let problem = format!("{key} has {size} bytes; 1 to {MOST_BYTES} are allowed");
                return Err(WorkerError::Input(problem));
            }
            None => return Err(WorkerError::Input(format!("{key} is not stored"))),
        }
    }
    let samples = newest(&app, &job, step).await?;
    let status = TrainingJobStatus { samples, ..TrainingJobStatus::default() };
    app.cluster.report_training(&job.namespace, &job.name, StatusPart::Samples, &status).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// From what is stored, so that no picture is lost that a status which is behind does not name.
async fn newest(app: &App, job: &TrainingView, step: u64) -> Result<Vec<SamplePicture>, WorkerError> {
    let (prompts, every) = match &job.samples {
        Some(samples) => (samples.prompts.as_slice(), u64::from(samples.every_steps)),
        None => return Ok(Vec::new()),
    };
    let begin = format!("{}samples/", folder(job));
    // Each round leaves a picture at least, so that the newest are not further back than this.
    let first = step.saturating_sub(every.saturating_mul(SHOWN));
    let after = format!("{begin}{}", step_name(first));
    let page = app.objects.list(&begin, Some(&after), PAGE).await?;
    let mut found = Vec::new();
    for listed in page.objects {
        let place = listed.key.strip_prefix(&begin).and_then(step_of);
        let number = |rest: &str| rest.strip_prefix('-')?.strip_suffix(".png")?.parse::<usize>().ok();
        let Some((of_step, picture)) = place.and_then(|(step, rest)| Some((step, number(rest)?))) else {
            continue;
        };
        // A run that was set back makes the later ones anew.
        let (Some(prompt), true) = (prompts.get(picture), of_step <= step) else { continue };
        found.push((
            of_step,
            picture,
            SamplePicture {
                step: u32::try_from(of_step).unwrap_or(u32::MAX),
                prompt: prompt.clone(),
                key: listed.key,
            },
        ));
    }
    found.sort_by_key(|(step, picture, _)| (std::cmp::Reverse(*step), *picture));
    found.truncate(usize::try_from(SHOWN).unwrap_or(usize::MAX));
    Ok(found.into_iter().map(|(_, _, picture)| picture).collect())
}
