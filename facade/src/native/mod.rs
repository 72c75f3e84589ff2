//! Easel's own API under `/easel/v1`: what no dialect has words for.

mod datasets;
mod error;
mod json;
mod store;
mod target;
mod trainings;
mod uploads;

use axum::Router;
use axum::middleware::from_fn_with_state;
use axum::routing::{get, post, put};

use crate::app::App;
use crate::auth::{self, Scope};

/// Calls with small bodies.
pub fn routes(app: &App) -> Router<App> {
    let models = Router::new()
        .route("/easel/v1/models/{name}/uploads", post(uploads::begin))
        .route("/easel/v1/models/{name}/uploads/complete", post(uploads::complete))
        .route_layer(from_fn_with_state((app.clone(), Scope::Models), auth::require));
    let training = Router::new()
        .route("/easel/v1/trainings/{name}", get(trainings::get))
        .route("/easel/v1/datasets/{name}", get(datasets::get))
        .route("/easel/v1/datasets/{name}/uploads", post(datasets::begin))
        .route_layer(from_fn_with_state((app.clone(), Scope::Training), auth::require));
    models.merge(training)
}

/// Calls whose bodies are files: neither the time-out nor the body limit of the others is for them.
pub fn streaming_routes(app: &App) -> Router<App> {
    let models = Router::new()
        .route("/easel/v1/models/{name}/files/{file}", put(uploads::put_file))
        .route_layer(from_fn_with_state((app.clone(), Scope::Models), auth::require));
    let training = Router::new()
        .route("/easel/v1/datasets/{name}/items/{item}", put(datasets::put_item))
        .route_layer(from_fn_with_state((app.clone(), Scope::Training), auth::require));
    models.merge(training)
}
