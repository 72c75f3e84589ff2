//! The trainer's calls (`easel_protocol::training`): what to train, how far it is, checkpoints, samples, the result.

mod checkpoint;
mod claim;
mod progress;
mod samples;
mod states;
mod store;

use axum::Router;
use axum::routing::post;
use easel_protocol::training::{
    CHECKPOINT_PATH, CLAIM_TRAINING_PATH, COMPLETE_CHECKPOINT_PATH, COMPLETE_SAMPLES_PATH,
    COMPLETE_TRAINED_PATH, SAMPLES_PATH, STORE_TRAINED_PATH, TRAINING_PROGRESS_PATH,
};

pub(super) use claim::own_training;

use crate::app::App;

pub(super) fn routes() -> Router<App> {
    Router::new()
        .route(CLAIM_TRAINING_PATH, post(claim::claim))
        .route(TRAINING_PROGRESS_PATH, post(progress::progress))
        .route(CHECKPOINT_PATH, post(checkpoint::plan))
        .route(COMPLETE_CHECKPOINT_PATH, post(checkpoint::complete))
        .route(SAMPLES_PATH, post(samples::plan))
        .route(COMPLETE_SAMPLES_PATH, post(samples::complete))
        .route(STORE_TRAINED_PATH, post(store::plan))
        .route(COMPLETE_TRAINED_PATH, post(store::complete))
}
