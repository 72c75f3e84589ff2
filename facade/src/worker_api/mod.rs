//! The worker protocol (`easel_protocol::{worker, import, training, dataset}`), on the internal port only.
//! Callers are pods of the cluster, known by their ServiceAccount token; what they send is not trusted.

mod content;
mod dataset;
mod error;
mod identity;
mod import;
mod import_origin;
mod import_s3;
mod import_task;
mod jobs;
mod json;
mod merge_task;
mod model_states;
mod models;
mod review;
mod trained_task;
mod training;
mod verify;

use axum::Router;
use axum::routing::{get, post};
use easel_protocol::import::{
    CLAIM_IMPORT_PATH, COMPLETE_IMPORT_PATH, IMPORT_PROGRESS_PATH, STORE_IMPORT_PATH,
};
use easel_protocol::worker::{CLAIM_PATH, MODEL_STATES_PATH, MODELS_PATH, job_path};

pub use import_task::upload_key;
pub(crate) use jobs::count_end;
pub(crate) use model_states::publish_all;
pub use review::TokenCache;

use crate::app::App;

/// Every route of the protocol. Each handler's first argument is the identity it needs.
pub fn routes() -> Router<App> {
    Router::new()
        .route(MODELS_PATH, get(models::model_set))
        .route(MODEL_STATES_PATH, post(model_states::report))
        .route(CLAIM_PATH, post(jobs::claim))
        .route(&job_path("{id}", "heartbeat"), post(jobs::heartbeat))
        .route(&job_path("{id}", "complete"), post(jobs::complete))
        .route(&job_path("{id}", "fail"), post(jobs::fail))
        .route(&job_path("{id}", "release"), post(jobs::release))
        .route(CLAIM_IMPORT_PATH, post(import::claim))
        .route(IMPORT_PROGRESS_PATH, post(import::progress))
        .route(STORE_IMPORT_PATH, post(import::store))
        .route(COMPLETE_IMPORT_PATH, post(import::complete))
        .merge(training::routes())
        .merge(dataset::routes())
}
