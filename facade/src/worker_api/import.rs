//! The importer's calls: what to fetch, how far it is, where the bytes go, and that they are there.

use axum::Json;
use axum::extract::State;
use easel_protocol::import::{
    ImportFile, ImportProgress, ImportTask, PartSlot, StoreDone, StorePlan, StoreRequest,
};
use easel_store::jobs::Sha256;
use easel_store::objects::{Audience, ObjectError, ObjectKey, Part};
use http::StatusCode;

use super::error::WorkerError;
use super::identity::Importer;
use super::import_origin::origin;
use super::import_task::{Wanted, wanted};
use super::json::WorkerJson;
use super::merge_task::merge_task;
use super::models::URL_LIFE;
use crate::app::App;
use crate::catalog::{ModelView, SourceView, Transfer};
use crate::collector::{self, HASH_FOLDER, hash_key};
use crate::parts;

const CONTENT_TYPE: &str = "application/octet-stream";

/// What to fetch.
pub(super) async fn claim(
    importer: Importer,
    State(app): State<App>,
) -> Result<Json<ImportTask>, WorkerError> {
    let model = own_model(&app, &importer)?;
    let (wanted, merge) = match &model.source {
        SourceView::Merge(merge) => {
            let find = |name: &str| app.directory.model(&model.namespace, name);
            let (wanted, task) = merge_task(&model, merge, find)?;
            (wanted, Some(task))
        }
        _ => (wanted(&model)?, None),
    };
    let mut files = Vec::new();
    for Wanted { name, from, sha256 } in wanted {
        files.push(ImportFile { name, origin: origin(&app, &model, from).await?, sha256 });
    }
    Ok(Json(ImportTask {
        model: model.name,
        model_type: model.model_type,
        files,
        merge,
        max_bytes: app.config.max_upload_bytes,
    }))
}

fn own_model(app: &App, importer: &Importer) -> Result<ModelView, WorkerError> {
    let Importer { namespace, model } = importer;
    if !app.directory.objects_known() {
        return Err(WorkerError::NotSynced);
    }
    app.directory.model(namespace, model).ok_or_else(|| WorkerError::NotKnown {
        kind: "Model",
        namespace: namespace.clone(),
        name: model.clone(),
    })
}

/// Writes how far it is into the Model's status.
pub(super) async fn progress(
    importer: Importer,
    State(app): State<App>,
    WorkerJson(progress): WorkerJson<ImportProgress>,
) -> Result<StatusCode, WorkerError> {
    let model = own_model(&app, &importer)?;
    // A late word of an import that is over would be written over the operator's.
    if !model.ready.holds {
        let ImportProgress { phase, bytes_done, bytes_total, bytes_per_second } = progress;
        let transfer = Transfer { phase, bytes_done, bytes_total, bytes_per_second };
        app.cluster.report_import(&model.namespace, &model.name, transfer).await?;
    }
    Ok(StatusCode::NO_CONTENT)
}

/// Where the bytes of this hash go; nowhere if they are there.
pub(super) async fn store(
    _: Importer,
    State(app): State<App>,
    WorkerJson(StoreRequest { sha256, size_bytes }): WorkerJson<StoreRequest>,
) -> Result<Json<StorePlan>, WorkerError> {
    let hash: Sha256 =
        sha256.parse().map_err(|_| WorkerError::Input("sha256 is not 64 hex digits".into()))?;
    let most = app.config.max_upload_bytes;
    if size_bytes == 0 || size_bytes > most {
        return Err(WorkerError::Input(format!("sizeBytes is {size_bytes}; 1 to {most} are allowed")));
    }
    let key = hash_key(&hash);
    // Before it is looked for: what is found stays until the Model's status names it.
    collector::claim(&*app.objects, &hash).await?;
    let plan = |parts, upload_id, part_size| {
        Ok(Json(StorePlan { key: key.as_str().to_owned(), parts, upload_id, part_size }))
    };
    if app.objects.head(&key).await?.is_some_and(|meta| meta.size == size_bytes) {
        return plan(Vec::new(), String::new(), size_bytes);
    }
    let part_size = parts::part_size(size_bytes);
    let upload_id = app.objects.create_upload(&key, CONTENT_TYPE).await?;
    let mut slots = Vec::new();
    for part_number in 1..=parts::count(size_bytes, part_size) {
        let signed =
            app.objects.presign_part(&key, &upload_id, part_number, &Audience::Worker, URL_LIFE).await?;
        slots.push(PartSlot { part_number, url: signed.into_string() });
    }
    plan(slots, upload_id, part_size)
}

/// The parts are there: makes the object of them and looks at its size. May be repeated.
pub(super) async fn complete(
    _: Importer,
    State(app): State<App>,
    WorkerJson(done): WorkerJson<StoreDone>,
) -> Result<StatusCode, WorkerError> {
    let hash = done.key.strip_prefix(HASH_FOLDER).and_then(|hash| hash.parse::<Sha256>().ok());
    let hash = hash.ok_or_else(|| WorkerError::Input("the key is none that was given out".into()))?;
    let key = hash_key(&hash);
    let parts: Vec<Part> =
        done.parts.into_iter().map(|part| Part { number: part.part_number, etag: part.etag }).collect();
    let completed = match parts.as_slice() {
        [] => Ok(()),
        parts => app.objects.complete_upload(&key, &done.upload_id, parts).await.map(drop),
    };
    match completed {
        // Completed by an earlier call whose answer was lost.
        Ok(()) | Err(ObjectError::NoSuchUpload { .. }) => {}
        Err(error) if !error.retriable() => return Err(WorkerError::Input(error.to_string())),
        Err(error) => return Err(error.into()),
    }
    sized(&app, &key, done.size_bytes).await
}

async fn sized(app: &App, key: &ObjectKey, declared: u64) -> Result<StatusCode, WorkerError> {
    match app.objects.head(key).await?.map(|meta| meta.size) {
        Some(size) if size == declared => Ok(StatusCode::NO_CONTENT),
        // Left where it is: the next `store` for this hash sees the wrong size and has it written anew.
        Some(size) => Err(WorkerError::Input(format!("{size} bytes are stored, {declared} are declared"))),
        None => Err(WorkerError::Input("the upload is not known; begin again with store".into())),
    }
}
