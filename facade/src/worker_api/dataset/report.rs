//! Where a checker's report goes.

use axum::Json;
use axum::extract::State;
use easel_protocol::dataset::{ReportPlan, ReportRequest};
use easel_store::objects::Audience;

use super::pages::own_dataset;
use crate::app::App;
use crate::folders;
use crate::worker_api::error::WorkerError;
use crate::worker_api::identity::Checker;
use crate::worker_api::json::WorkerJson;
use crate::worker_api::models::URL_LIFE;

const CONTENT_TYPE: &str = "application/x-ndjson";
/// A line of a kilobyte for each of 100,000 pictures, with room.
const MOST_BYTES: u64 = 128 << 20;

pub(super) async fn plan(
    checker: Checker,
    State(app): State<App>,
    WorkerJson(ReportRequest { size_bytes }): WorkerJson<ReportRequest>,
) -> Result<Json<ReportPlan>, WorkerError> {
    let dataset = own_dataset(&app, &checker)?;
    if size_bytes > MOST_BYTES {
        let problem = format!("sizeBytes is {size_bytes}; at most {MOST_BYTES} are allowed");
        return Err(WorkerError::Input(problem));
    }
    let key = folders::report_key(&dataset.namespace, &dataset.dataset_name)
        .map_err(|error| WorkerError::Input(error.to_string()))?;
    let url = app.objects.presign_put(&key, &Audience::Worker, URL_LIFE, Some(CONTENT_TYPE)).await?;
    Ok(Json(ReportPlan { key: key.as_str().to_owned(), url: url.into_string() }))
}
