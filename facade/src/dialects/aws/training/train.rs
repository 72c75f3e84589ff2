//! `POST /train`, `PUT /train`, `GET /trains`.

use std::collections::BTreeMap;
use std::time::Duration;

use axum::extract::{RawQuery, State};
use axum::response::{IntoResponse, Response};
use easel_crds::{Dataset, DatasetSpec, TrainingJob};
use easel_store::objects::Audience;
use kube::api::ObjectMeta;
use serde_json::{Value, json};

use super::error::TrainingError;
use super::filters::Filter;
use super::names::shown;
use super::note::DatasetNote;
use super::plan::{Plan, World, plan};
use super::record;
use super::uploads::media_type;
use super::wire::{CreateTrain, TrainCreated, TrainJob, TrainList, TrainUpdated, UpdateTrain};
use crate::app::App;
use crate::auth::Caller;
use crate::catalog::{
    DatasetView, NOTE_ANNOTATION, TrainingState, TrainingView, dataset_view, training_view,
};
use crate::dialects::aws::json::AwsJson;
use crate::folders;
use crate::http::origin::CallerAudience;

/// As long as the service's own URLs live.
pub(super) const UPLOAD_LIFE: Duration = Duration::from_secs(7 * 86_400);
const CHECKPOINT: &str = "Checkpoint";

/// `POST /train`: a TrainingJob that waits for `PUT /train`, and a Dataset for pictures that come with it.
pub(super) async fn create(
    State(app): State<App>,
    caller: Caller,
    CallerAudience(audience): CallerAudience,
    AwsJson(body): AwsJson<CreateTrain>,
) -> Result<AwsJson<TrainCreated>, TrainingError> {
    known(&app)?;
    let announced = body.filenames.as_ref().is_some_and(|files| !files.is_empty());
    // As the API server has them: a client goes on at once from the data set that it has just made.
    let mut datasets = Vec::new();
    let mut look = |dataset: &Dataset| datasets.push(dataset_view(dataset));
    app.cluster.each_dataset(std::slice::from_ref(&caller.namespace), &mut look).await?;
    let plan = planned(&app, &caller, &datasets, body)?;
    let note = BTreeMap::from([(NOTE_ANNOTATION.to_owned(), plan.note.text())]);
    let metadata = ObjectMeta {
        name: Some(plan.name.clone()),
        namespace: Some(caller.namespace.clone()),
        annotations: Some(note),
        ..ObjectMeta::default()
    };
    let wanted = TrainingJob { metadata, spec: plan.spec.clone(), status: None };
    let made = app.cluster.create_training(&wanted).await?;
    if let Some(dataset) = uploaded(&plan, &made)? {
        app.cluster.create_dataset(&dataset).await?;
    }
    let view = training_view(&made);
    tracing::info!(namespace = view.namespace, training = view.name, "a TrainingJob is made");
    let urls = urls(&app, &plan, &view, &audience).await?;
    let mut job = record::job(&view, &app.config.s3.bucket);
    job.params = Value::Object(plan.note.params);
    let s3_presign_url = announced.then_some(urls);
    Ok(AwsJson(TrainCreated { status_code: 200, job, s3_presign_url, warnings: plan.warnings }))
}

/// What a request asks for, with what there is to be asked for.
fn planned(
    app: &App,
    caller: &Caller,
    datasets: &[DatasetView],
    body: CreateTrain,
) -> Result<Plan, TrainingError> {
    let directory = &app.directory;
    let world = World {
        namespace: &caller.namespace,
        bucket: &app.config.s3.bucket,
        models: directory.models(&caller.namespace, CHECKPOINT),
        taken: &|name| {
            directory.any_model(|model| {
                model.metadata.namespace.as_deref() == Some(&caller.namespace)
                    && model.spec.display_name.as_deref() == Some(name)
            })
        },
        dataset: &|name| {
            let called = datasets.iter().find(|dataset| dataset.dataset_name == name);
            called.or_else(|| datasets.iter().find(|dataset| dataset.name == name)).cloned()
        },
    };
    plan(body, &world)
}

pub(super) fn known(app: &App) -> Result<(), TrainingError> {
    if app.directory.objects_known() && app.directory.training_known() {
        return Ok(());
    }
    Err(TrainingError::NotSynced)
}

/// The Dataset of the pictures that come with the call. It goes with the TrainingJob.
fn uploaded(plan: &Plan, owner: &TrainingJob) -> Result<Option<Dataset>, TrainingError> {
    let Some(name) = &plan.dataset else { return Ok(None) };
    let item = |picture: &super::uploads::Picture| json!({"name": picture.item, "mediaType": media_type(&picture.item)});
    let items: Vec<Value> = plan.uploads.pictures.iter().map(item).collect();
    let description = format!("sent with TrainingJob {}", plan.name);
    let spec = json!({"description": description, "state": "Disabled", "items": items});
    let spec: DatasetSpec =
        serde_json::from_value(spec).map_err(|error| TrainingError::field("filenames", error.to_string()))?;
    let note = DatasetNote { initial: true, ..DatasetNote::default() };
    let metadata = json!({
        "name": name, "namespace": owner.metadata.namespace, "annotations": {NOTE_ANNOTATION: note.text()},
        "ownerReferences": [{
            "apiVersion": "easel.dev/v1alpha1", "kind": "TrainingJob", "name": owner.metadata.name,
            "uid": owner.metadata.uid,
        }],
    });
    let metadata: ObjectMeta = serde_json::from_value(metadata)
        .map_err(|error| TrainingError::field("filenames", error.to_string()))?;
    Ok(Some(Dataset { metadata, spec, status: None }))
}

/// An address for each file.
async fn urls(
    app: &App,
    plan: &Plan,
    job: &TrainingView,
    audience: &Audience,
) -> Result<BTreeMap<String, String>, TrainingError> {
    let mut urls = BTreeMap::new();
    let dataset = plan.dataset.as_deref().unwrap_or_default();
    let pictures = plan
        .uploads
        .pictures
        .iter()
        .map(|picture| (&picture.file, folders::picture_key(&job.namespace, dataset, &picture.item)));
    let folder = folders::training_folder(&job.namespace, &job.name, &job.uid);
    let others = plan.uploads.others.iter().map(|file| {
        let name = super::names::last_part(file);
        (file, format!("{folder}input/{name}").parse())
    });
    for (file, key) in pictures.chain(others) {
        let key = key.map_err(|error| TrainingError::field("filenames", error.to_string()))?;
        let url = app.objects.presign_put(&key, audience, UPLOAD_LIFE, None).await?;
        urls.insert(file.clone(), url.into_string());
    }
    Ok(urls)
}

/// `PUT /train`: `Training` lets it begin; any other status is answered as the service does, and nothing happens.
pub(super) async fn update(
    State(app): State<App>,
    caller: Caller,
    AwsJson(body): AwsJson<UpdateTrain>,
) -> Result<Response, TrainingError> {
    known(&app)?;
    let id = body.train_job_id.unwrap_or_default();
    let job = find(&app, &caller, &id).await?;
    let asked = body.status.unwrap_or_default();
    if asked != "Training" {
        let msg = format!("not implemented for train job status {}", shown(&asked));
        return Ok(AwsJson(json!({"statusCode": 200, "msg": msg})).into_response());
    }
    match job.state {
        TrainingState::Held => begin(&app, &job).await?,
        TrainingState::Going => {}
        TrainingState::Complete | TrainingState::Failed => {
            let problem = format!("train job {id} is {}; make a new one", record::status(&job));
            return Err(TrainingError::field("train_job_id", problem));
        }
    }
    let job = TrainJob { status: "Training", ..record::job(&job, &app.config.s3.bucket) };
    Ok(AwsJson(TrainUpdated { status_code: 200, job }).into_response())
}

/// The pictures first: once the run may begin they are looked for. May be repeated.
async fn begin(app: &App, job: &TrainingView) -> Result<(), TrainingError> {
    if let Some(dataset) = record::note(job).dataset {
        let note = DatasetNote::default().text();
        let patch =
            json!({"metadata": {"annotations": {NOTE_ANNOTATION: note}}, "spec": {"state": "Enabled"}});
        if !app.cluster.patch_dataset(&job.namespace, &dataset, &patch).await? {
            return Err(TrainingError::NoDataset(dataset));
        }
    }
    let patch = json!({"spec": {"suspend": false}});
    if !app.cluster.patch_training(&job.namespace, &job.name, &patch).await? {
        return Err(TrainingError::NoTraining(job.uid.clone()));
    }
    tracing::info!(namespace = job.namespace, training = job.name, "a TrainingJob may begin");
    Ok(())
}

/// The job of that id; one that was just made may not have been seen by the watch.
async fn find(app: &App, caller: &Caller, id: &str) -> Result<TrainingView, TrainingError> {
    let seen = app.directory.trainings(&caller.namespace).into_iter().find(|job| job.uid == id);
    if let Some(seen) = seen {
        return Ok(seen);
    }
    let mut found = None;
    let mut look = |job: &TrainingJob| {
        if job.metadata.uid.as_deref() == Some(id) {
            found = Some(training_view(job));
        }
    };
    app.cluster.each_training(std::slice::from_ref(&caller.namespace), &mut look).await?;
    found.ok_or_else(|| TrainingError::NoTraining(shown(id)))
}

/// `GET /trains`
pub(super) async fn list(
    State(app): State<App>,
    caller: Caller,
    RawQuery(query): RawQuery,
) -> Result<AwsJson<TrainList>, TrainingError> {
    known(&app)?;
    let types = Filter::of(query.as_deref(), "types");
    let status = Filter::of(query.as_deref(), "status");
    let records = app.directory.trainings(&caller.namespace).iter().map(record::listed).collect::<Vec<_>>();
    let wanted = records.into_iter().filter(|job| types.lets(&job.train_type) && status.lets(job.status));
    Ok(AwsJson(TrainList { status_code: 200, train_jobs: wanted.collect() }))
}
