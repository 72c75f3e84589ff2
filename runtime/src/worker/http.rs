//! The worker's own HTTP server: health, readiness, metrics.

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::IntoResponse;
use axum::routing::get;
use axum::{Json, Router};

use super::health::Health;
use super::metrics::Metrics;

#[derive(Clone)]
struct App {
    health: Arc<Health>,
    metrics: Arc<Metrics>,
}

pub(super) fn router(health: Arc<Health>, metrics: Arc<Metrics>) -> Router {
    Router::new()
        .route("/healthz", get(async || "ok\n"))
        .route("/readyz", get(readyz))
        .route("/metrics", get(metrics_text))
        .with_state(App { health, metrics })
}

/// 200 or 503, with every reason.
async fn readyz(State(app): State<App>) -> impl IntoResponse {
    let readiness = app.health.readiness();
    let status = if readiness.ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (status, Json(readiness))
}

async fn metrics_text(State(app): State<App>) -> impl IntoResponse {
    match app.metrics.encode() {
        Ok(text) => (StatusCode::OK, [(CONTENT_TYPE, prometheus::TEXT_FORMAT)], text),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, [(CONTENT_TYPE, "text/plain")], error.to_string()),
    }
}
