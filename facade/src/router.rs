//! The two listeners' routes with their layers.

use std::convert::Infallible;
use std::time::Duration;

use axum::body::Body;
use axum::extract::{Request, State};
use axum::middleware::from_fn_with_state;
use axum::response::{IntoResponse, Response};
use axum::routing::any;
use axum::{Json, Router};
use http::StatusCode;
use serde_json::json;
use tower::{Service, ServiceExt};
use tower_http::catch_panic::CatchPanicLayer;

use crate::app::App;
use crate::dialects::aws;
use crate::http::middleware::{self, Cause, Observer};
use crate::http::path;
use crate::{health, native, worker_api};

/// Longest long poll (30 s) with room for the rest.
const WORKER_TIMEOUT: Duration = Duration::from_secs(60);

/// First parts of the paths of the dialects: no bucket may have such a name. The bucket `easel` and the own API
/// under `/easel/v1` do get along: a fixed route goes before a key, and no key of ours begins with `v1/`.
pub const RESERVED: [&str; 9] =
    ["inference", "inference-api", "prod", "api", "train", "train-api", "trains", "dataset", "datasets"];

/// The public port: dialects, own API, and the embedded object store.
pub fn public(
    app: &App,
) -> impl Service<Request, Response = Response, Error = Infallible, Future: Send> + Clone + Send + use<> + 'static
{
    let timed = Router::new()
        .merge(aws::routes(app))
        .merge(native::routes(app))
        .layer(from_fn_with_state(app.config.request_timeout, middleware::deadline));
    let mut router = timed
        .merge(native::streaming_routes(app))
        .fallback(unknown)
        .method_not_allowed_fallback(unknown)
        .layer(middleware::cors());
    let bucket = app.embedded.as_ref().map(|embedded| embedded.bucket().to_owned());
    if let Some(bucket) = &bucket {
        // The store answers for itself: its own CORS, no time-out and no limit on bodies.
        router = router
            .route(&format!("/{bucket}"), any(objects))
            .route(&format!("/{bucket}/"), any(objects))
            .route(&format!("/{bucket}/{{*key}}"), any(objects));
    }
    let router = observed(router, app, "public");
    // Before routing, so outside of the router.
    router.map_request(move |mut request: Request| {
        path::normalise(request.uri_mut(), bucket.as_deref());
        request
    })
}

/// The internal port: worker protocol, health, metrics.
pub fn internal(app: &App) -> Router {
    let router = Router::new()
        .merge(worker_api::routes())
        .merge(health::routes())
        .layer(from_fn_with_state(WORKER_TIMEOUT, middleware::deadline))
        .fallback(|| async {
            (StatusCode::NOT_FOUND, Json(json!({"reason": "NotFound", "message": "no such route"})))
        });
    observed(router, app, "internal")
}

fn observed(router: Router<App>, app: &App, listener: &'static str) -> Router {
    let observer = Observer { metrics: app.metrics.clone(), listener };
    router
        .layer(CatchPanicLayer::custom(middleware::panicked))
        .layer(from_fn_with_state(observer, middleware::observe))
        .with_state(app.clone())
}

/// API Gateway's answer to a path or method that it does not know.
async fn unknown() -> Response {
    let mut response =
        (StatusCode::FORBIDDEN, Json(json!({"message": "Missing Authentication Token"}))).into_response();
    response.extensions_mut().insert(Cause("no such route".into()));
    response
}

/// A call of the S3 protocol, authenticated by its signature.
async fn objects(State(app): State<App>, request: Request) -> Response {
    match &app.embedded {
        Some(embedded) => embedded.call(request).await.map(Body::new),
        None => unknown().await,
    }
}
