//! Training and data sets in this dialect (specs/aws-extension.md §4.3, §4.4, §8): records are Kubernetes objects, ids
//! their UIDs, so that what a person makes with kubectl is there too. What the objects have no field for is kept in
//! an annotation ([`note`]).

mod concepts;
mod config;
mod dataset_record;
mod datasets;
mod error;
mod filters;
mod hyperparameters;
mod method;
mod names;
mod note;
mod plan;
mod record;
mod train;
mod uploads;
mod wire;

use axum::Router;
use axum::routing::{get, post};

use crate::app::App;

/// Every route, without the key check.
pub(super) fn routes() -> Router<App> {
    Router::new()
        .route("/train", post(train::create).put(train::update))
        .route("/train-api/train", post(train::create))
        .route("/trains", get(train::list))
        .route("/dataset", post(datasets::create).put(datasets::update))
        .route("/datasets", get(datasets::list))
        .route("/dataset/{dataset_name}/data", get(datasets::data))
        .route("/{dataset_name}/data", get(datasets::data))
}
