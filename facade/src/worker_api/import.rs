//! The importer's calls: what to fetch, how far it is, where the bytes go, and that they are there.

use axum::Json;
use axum::extract::State;
use easel_protocol::import::{ImportFile, ImportProgress, ImportTask, StoreDone, StorePlan, StoreRequest};
use http::StatusCode;

use super::content;
use super::error::WorkerError;
use super::identity::Importer;
use super::import_origin::origin;
use super::import_task::{Wanted, wanted};
use super::json::WorkerJson;
use super::merge_task::merge_task;
use super::trained_task::trained;
use crate::app::App;
use crate::catalog::{ModelView, SourceView, Transfer};

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
        SourceView::TrainingJob { name } => {
            let job = app.directory.training(&model.namespace, name);
            (vec![trained(&model, name, job)?], None)
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
    WorkerJson(request): WorkerJson<StoreRequest>,
) -> Result<Json<StorePlan>, WorkerError> {
    content::plan_by_hash(&app, request).await.map(Json)
}

/// The parts are there: makes the object of them and looks at its size. May be repeated.
pub(super) async fn complete(
    _: Importer,
    State(app): State<App>,
    WorkerJson(done): WorkerJson<StoreDone>,
) -> Result<StatusCode, WorkerError> {
    content::finish_by_hash(&app, done).await.map(|()| StatusCode::NO_CONTENT)
}
