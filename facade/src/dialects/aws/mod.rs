//! The Stable Diffusion AWS extension API, v2023-07-05 (specs/aws-extension.md). The next route costs a
//! wire type, a handler and a line in the table below.

mod deployments;
mod error;
mod features;
mod infotext;
mod json;
mod numbers;
mod record;
mod results;
mod run;
mod training;
mod wire;

use axum::Router;
use axum::middleware::from_fn_with_state;
use axum::routing::{get, post};

pub use infotext::result_document;

use crate::app::App;
use crate::auth::{self, Scope};

/// What jobs of this dialect are marked with.
pub const DIALECT: &str = "aws";

/// Every route, behind the key check.
pub fn routes(app: &App) -> Router<App> {
    let training =
        training::routes().route_layer(from_fn_with_state((app.clone(), Scope::Training), auth::require));
    Router::new()
        .route("/inference", get(results::about))
        .route("/inference/test-connection", get(results::test_connection))
        .route("/inference-api/inference", post(run::run_inference))
        .route("/inference/get-inference-job", get(results::get_job))
        .route("/inference/get-inference-job-image-output", get(results::image_output))
        .route("/inference/get-inference-job-param-output", get(results::param_output))
        .route("/inference/list-inference-jobs", get(results::list_jobs))
        .route("/inference/query-inference-jobs", post(results::query_jobs))
        .route("/inference/list-endpoint-deployment-jobs", get(deployments::list))
        .route("/inference/get-endpoint-deployment-job", get(deployments::get))
        .route_layer(from_fn_with_state((app.clone(), Scope::Inference), auth::require))
        .merge(training)
}
