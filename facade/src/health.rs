//! The routes that probes and Prometheus call, on the internal port.

use std::time::Duration;

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use http::{StatusCode, header};
use jiff::Timestamp;
use serde::Serialize;

use crate::app::App;
use crate::http::middleware::Cause;
use crate::metrics::QueueFigures;

/// A part that does not answer by then is not there.
const PATIENCE: Duration = Duration::from_secs(3);

pub fn routes() -> Router<App> {
    Router::new()
        .route("/healthz", get(|| async { "ok" }))
        .route("/readyz", get(readiness))
        .route("/metrics", get(metrics))
}

/// What readiness depends on, each with its problem if it has one.
#[derive(Debug, PartialEq, Eq, Serialize)]
struct Readiness {
    ready: bool,
    database: String,
    object_store: String,
    kubernetes: String,
}

const FINE: &str = "ok";

async fn readiness(State(app): State<App>) -> Response {
    let (database, object_store) = tokio::join!(within(app.jobs.ping()), within(app.objects.ping()));
    let kubernetes = match app.directory.unsynced().as_slice() {
        [] => FINE.to_owned(),
        kinds => format!("not read yet: {}", kinds.join(", ")),
    };
    let ready = [&database, &object_store, &kubernetes].iter().all(|part| *part == FINE);
    let state = Readiness { ready, database, object_store, kubernetes };
    if ready {
        return Json(state).into_response();
    }
    let cause = Cause(format!("not ready: {state:?}"));
    let mut response = (StatusCode::SERVICE_UNAVAILABLE, Json(state)).into_response();
    response.extensions_mut().insert(cause);
    response
}

async fn within<E: std::error::Error + 'static>(check: impl Future<Output = Result<(), E>>) -> String {
    match tokio::time::timeout(PATIENCE, check).await {
        Ok(Ok(())) => FINE.to_owned(),
        Ok(Err(error)) => Cause::of(&error).0,
        Err(_) => format!("no answer within {} s", PATIENCE.as_secs()),
    }
}

async fn metrics(State(app): State<App>) -> Response {
    app.metrics.set_queues(&queues(&app).await);
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4")], app.metrics.render()).into_response()
}

/// An endpoint whose figures cannot be read is left out: an old figure would mislead more than none.
async fn queues(app: &App) -> Vec<QueueFigures> {
    let mut queues = Vec::new();
    for endpoint in app.directory.all_endpoints() {
        match app.jobs.queue_figures(&endpoint.namespace, &endpoint.name).await {
            Ok(figures) => queues.push(QueueFigures {
                namespace: endpoint.namespace,
                endpoint: endpoint.name,
                pending: figures.pending,
                running: figures.running,
                oldest_seconds: figures.oldest_created_at.map_or(0, age_seconds),
            }),
            Err(error) => {
                tracing::warn!(error = &error as &dyn std::error::Error, "cannot read a queue's figures");
            }
        }
    }
    queues
}

fn age_seconds(since: Timestamp) -> u64 {
    u64::try_from(Timestamp::now().duration_since(since).as_secs()).unwrap_or(0)
}
