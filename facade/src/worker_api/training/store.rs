//! The result of a run on its way into the object store, where it is kept by its hash like every Model's weights.

use axum::Json;
use axum::extract::State;
use easel_protocol::import::{StoreDone, StorePlan, StoreRequest};
use http::StatusCode;

use super::claim::own_training;
use crate::app::App;
use crate::worker_api::content;
use crate::worker_api::error::WorkerError;
use crate::worker_api::identity::Trainer;
use crate::worker_api::json::WorkerJson;

/// Where the bytes of this hash go; nowhere if they are there.
pub(super) async fn plan(
    trainer: Trainer,
    State(app): State<App>,
    WorkerJson(request): WorkerJson<StoreRequest>,
) -> Result<Json<StorePlan>, WorkerError> {
    own_training(&app, &trainer)?;
    content::plan_by_hash(&app, request).await.map(Json)
}

/// The parts are there. May be repeated.
pub(super) async fn complete(
    trainer: Trainer,
    State(app): State<App>,
    WorkerJson(done): WorkerJson<StoreDone>,
) -> Result<StatusCode, WorkerError> {
    own_training(&app, &trainer)?;
    content::finish_by_hash(&app, done).await.map(|()| StatusCode::NO_CONTENT)
}
