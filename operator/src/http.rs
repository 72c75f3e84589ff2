//! `/healthz`, `/readyz` and `/metrics`.

use std::sync::Arc;
use std::time::Instant;

use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use axum::routing::get;
use axum::{Json, Router};

use crate::health::Health;
use crate::metrics::Metrics;

#[derive(Clone)]
struct App {
    health: Arc<Health>,
    metrics: Metrics,
}

/// The routes.
pub fn router(health: Arc<Health>, metrics: Metrics) -> Router {
    Router::new()
        .route("/healthz", get(|| async { "ok\n" }))
        .route("/readyz", get(readyz))
        .route("/metrics", get(render_metrics))
        .with_state(App { health, metrics })
}

async fn readyz(State(app): State<App>) -> impl IntoResponse {
    let readiness = app.health.readiness(Instant::now());
    let code = if readiness.ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (code, Json(readiness))
}

async fn render_metrics(State(app): State<App>) -> impl IntoResponse {
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4")], app.metrics.render())
}

#[cfg(test)]
mod tests {
    use axum::body::Body;
    use http::Request;
    use http_body_util::BodyExt;
    use tower::ServiceExt;

    use super::*;

    async fn ask(health: &Arc<Health>, path: &str) -> (u16, String) {
        let request = Request::get(path).body(Body::empty()).unwrap();
        let answer = router(health.clone(), Metrics::default()).oneshot(request).await.unwrap();
        let code = answer.status().as_u16();
        let body = answer.into_body().collect().await.unwrap().to_bytes();
        (code, String::from_utf8(body.to_vec()).unwrap())
    }

    #[tokio::test]
    async fn readiness_is_json_and_differs_from_health() {
        let health = Arc::new(Health::default());
        let (code, body) = ask(&health, "/readyz").await;
        assert_eq!(code, 503);
        assert!(
            body.starts_with(r#"{"ready":false,"role":"starting","leader":null,"reasons":[{"reason":"#),
            "{body}"
        );
        assert_eq!(ask(&health, "/healthz").await, (200, "ok\n".into()));
        health.saw_lease(Some("me"));
        let (code, body) = ask(&health, "/readyz").await;
        assert_eq!(
            (code, body.as_str()),
            (200, r#"{"ready":true,"role":"standby","leader":"me","reasons":[]}"#)
        );
        assert!(ask(&health, "/metrics").await.1.contains("easel_operator_leader"));
    }
}
