//! The layers around every route: request id, one log line and one metric per call, a bound on its time,
//! and an answer instead of a dropped connection when a handler panics.

use std::any::Any;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Json;
use axum::extract::{MatchedPath, Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use http::{HeaderName, HeaderValue, Method, StatusCode, header};
use serde_json::json;
use tower_http::cors::{Any as AnyOrigin, CorsLayer};
use tracing::{Instrument, Level, Span, field::Empty};

use crate::metrics::Metrics;

pub const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// Why an answer is an error, for the log: put into the response's extensions by whoever made it.
#[derive(Clone, Debug)]
pub struct Cause(pub String);

impl Cause {
    /// The whole chain of an error in one line.
    pub fn of(error: &dyn std::error::Error) -> Self {
        let mut text = error.to_string();
        let mut source = error.source();
        while let Some(cause) = source {
            text.push_str(": ");
            text.push_str(&cause.to_string());
            source = cause.source();
        }
        Self(text)
    }
}

/// What [`observe`] needs to know.
#[derive(Clone)]
pub struct Observer {
    pub metrics: Arc<Metrics>,
    /// `public` or `internal`.
    pub listener: &'static str,
}

/// Gives the call its id, logs it once and counts it.
pub async fn observe(State(observer): State<Observer>, mut request: Request, next: Next) -> Response {
    let id = request_id(&request);
    request.headers_mut().insert(REQUEST_ID, id.clone());
    let route = request.extensions().get::<MatchedPath>().map_or("unmatched", MatchedPath::as_str).to_owned();
    let method = known_method(request.method());
    let span = tracing::info_span!(
        "call",
        request.id = id.to_str().unwrap_or_default(),
        method,
        route,
        namespace = Empty,
        key = Empty,
        job.id = Empty,
    );
    let _counted = observer.metrics.begin();
    let started = Instant::now();
    let mut response = next.run(request).instrument(span.clone()).await;
    let took = started.elapsed();
    observer.metrics.answered(observer.listener, method, &route, response.status().as_u16(), took);
    log(&span, observer.listener, &route, &response, took);
    response.headers_mut().insert(REQUEST_ID, id);
    response
}

/// The caller's id if it is a harmless word, else a new one.
fn request_id(request: &Request) -> HeaderValue {
    let harmless = |id: &HeaderValue| {
        let bytes = id.as_bytes();
        (1..=128).contains(&bytes.len())
            && bytes.iter().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.'))
    };
    match request.headers().get(REQUEST_ID).filter(|id| harmless(id)) {
        Some(id) => id.clone(),
        None => HeaderValue::from_str(&uuid::Uuid::new_v4().to_string()).expect("a UUID is plain ASCII"),
    }
}

/// Any other word would let a caller make label values without bound.
fn known_method(method: &Method) -> &'static str {
    match method.as_str() {
        "GET" => "GET",
        "HEAD" => "HEAD",
        "POST" => "POST",
        "PUT" => "PUT",
        "DELETE" => "DELETE",
        "OPTIONS" => "OPTIONS",
        "PATCH" => "PATCH",
        _ => "OTHER",
    }
}

fn log(span: &Span, listener: &str, route: &str, response: &Response, took: Duration) {
    let status = response.status().as_u16();
    let duration_ms = u64::try_from(took.as_millis()).unwrap_or(u64::MAX);
    let cause = response.extensions().get::<Cause>().map(|cause| cause.0.as_str());
    span.in_scope(|| match (status, cause) {
        // Over soon, or it is an error of whoever we wait for.
        (503, cause) => tracing::warn!(status, duration_ms, cause, "call cannot be answered now"),
        (500.., cause) => tracing::error!(status, duration_ms, cause, "call failed"),
        (400.., cause) => tracing::info!(status, duration_ms, cause, "call refused"),
        // Probes and long polls come every few seconds for ever.
        _ if listener == "internal" || route == "unmatched" => {
            tracing::event!(Level::DEBUG, status, duration_ms, "call answered");
        }
        _ => tracing::info!(status, duration_ms, "call answered"),
    });
}

/// Ends a call that takes longer than `limit`, body included.
pub async fn deadline(State(limit): State<Duration>, request: Request, next: Next) -> Response {
    match tokio::time::timeout(limit, next.run(request)).await {
        Ok(response) => response,
        Err(_) => {
            let cause = format!("the call took longer than {limit:?}");
            let body = json!({
                "message": "Endpoint request timed out", "statusCode": 504, "error": cause,
            });
            let mut response = (StatusCode::GATEWAY_TIMEOUT, Json(body)).into_response();
            response.extensions_mut().insert(Cause(cause));
            response
        }
    }
}

/// The answer of a handler that panicked. What it says goes to the log only.
pub fn panicked(payload: Box<dyn Any + Send + 'static>) -> Response {
    let text = payload
        .downcast_ref::<&str>()
        .map(|text| (*text).to_owned())
        .or_else(|| payload.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| "panic".to_owned());
    let body =
        json!({"message": "Internal server error", "statusCode": 500, "error": "Internal server error"});
    let mut response = (StatusCode::INTERNAL_SERVER_ERROR, Json(body)).into_response();
    response.extensions_mut().insert(Cause(format!("handler panicked: {text}")));
    response
}

/// CORS of the API (specs/aws-extension.md §2): any origin, every method, the gateway's list of headers.
pub fn cors() -> CorsLayer {
    let headers = [
        header::CONTENT_TYPE,
        header::AUTHORIZATION,
        header::RANGE,
        HeaderName::from_static("x-amz-date"),
        HeaderName::from_static("x-api-key"),
        HeaderName::from_static("x-amz-security-token"),
        HeaderName::from_static("x-amz-user-agent"),
        REQUEST_ID,
    ];
    let methods = [
        Method::GET,
        Method::HEAD,
        Method::POST,
        Method::PUT,
        Method::DELETE,
        Method::OPTIONS,
        Method::PATCH,
    ];
    CorsLayer::new()
        .allow_origin(AnyOrigin)
        .allow_methods(methods)
        .allow_headers(headers)
        .expose_headers([header::ETAG, header::RETRY_AFTER, header::CONTENT_RANGE, REQUEST_ID])
        .max_age(Duration::from_secs(600))
}

#[cfg(test)]
mod tests {
    use axum::Router;
    use axum::body::Body;
    use axum::middleware::from_fn_with_state;
    use axum::routing::get;
    use http_body_util::BodyExt;
    use tower::ServiceExt;
    use tower_http::catch_panic::CatchPanicLayer;

    use super::*;

    fn router(limit: Duration) -> (Router, Arc<Metrics>) {
        let metrics = Arc::new(Metrics::new());
        let observer = Observer { metrics: metrics.clone(), listener: "public" };
        let router = Router::new()
            .route("/ok", get(|| async { "fine" }))
            .route("/panic", get(|| async { panic!("secret detail") as () }))
            .route("/stall", get(std::future::pending::<()>))
            .layer(from_fn_with_state(limit, deadline))
            .layer(CatchPanicLayer::custom(panicked))
            .layer(from_fn_with_state(observer, observe));
        (router, metrics)
    }

    async fn call(router: Router, path: &str, id: Option<&str>) -> (StatusCode, String, String) {
        let mut request = Request::get(path);
        if let Some(id) = id {
            request = request.header(REQUEST_ID, id);
        }
        let response = router.oneshot(request.body(Body::empty()).expect("request")).await.expect("answer");
        let id = response.headers()[REQUEST_ID].to_str().expect("ascii").to_owned();
        let status = response.status();
        let body = response.into_body().collect().await.expect("body").to_bytes();
        (status, String::from_utf8(body.to_vec()).expect("text"), id)
    }

    #[tokio::test]
    async fn a_panic_is_a_500_that_tells_nothing() {
        let (router, metrics) = router(Duration::from_secs(5));
        let (status, body, _) = call(router, "/panic", None).await;
        assert_eq!(status, StatusCode::INTERNAL_SERVER_ERROR);
        assert_eq!(
            body,
            r#"{"error":"Internal server error","message":"Internal server error","statusCode":500}"#
        );
        assert!(metrics.render().contains(r#"route="/panic",status="500"} 1"#));
    }

    #[tokio::test]
    async fn a_call_that_stalls_is_ended() {
        let (status, body, _) = call(router(Duration::from_millis(20)).0, "/stall", None).await;
        assert_eq!(status, StatusCode::GATEWAY_TIMEOUT);
        let want = r#"{"error":"the call took longer than 20ms","message":"Endpoint request timed out","statusCode":504}"#;
        assert_eq!(body, want);
    }

    #[tokio::test]
    async fn request_ids_come_back_unless_they_could_do_harm() {
        let (router, _) = router(Duration::from_secs(5));
        let (_, _, id) = call(router.clone(), "/ok", Some("client-7.a_B")).await;
        assert_eq!(id, "client-7.a_B");
        for bad in ["a b", "x\"y", &"a".repeat(129), ""] {
            let (_, _, id) = call(router.clone(), "/ok", Some(bad)).await;
            assert!(uuid::Uuid::parse_str(&id).is_ok(), "{bad:?} became {id:?}");
        }
    }
}
