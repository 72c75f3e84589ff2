//! Keys, paths and what lies between the caller and a handler.

use axum::body::Body;
use axum::extract::Request;
use http::StatusCode;

use crate::fixture::{Fixture, get, post};
use crate::objects::{BOUND_KEY, KEY, MODELS_KEY};

const TEST: &str = "/inference/test-connection";

#[tokio::test]
async fn only_a_good_key_gets_through() {
    let facade = Fixture::new().await;
    for key in ["", "wrong", "key-that-is-off", "key-that-is-old", MODELS_KEY, "Key-of-the-team"] {
        let answer = facade.public(get(TEST, key)).await;
        assert_eq!(
            (answer.status, answer.body.as_str()),
            (StatusCode::FORBIDDEN, r#"{"message":"Forbidden"}"#),
            "{key}"
        );
    }
    let answer = facade.public(Request::get(TEST).body(Body::empty()).unwrap()).await;
    assert_eq!((answer.status, answer.body.as_str()), (StatusCode::FORBIDDEN, r#"{"message":"Forbidden"}"#));
    for key in [KEY, BOUND_KEY] {
        let answer = facade.public(get(TEST, key)).await;
        assert_eq!(
            (answer.status, answer.body.as_str()),
            (StatusCode::OK, r#"{"message":"Success"}"#),
            "{key}"
        );
    }
}

#[tokio::test]
async fn a_path_is_known_with_stage_and_double_slashes() {
    let facade = Fixture::new().await;
    for path in [
        "/prod/inference/test-connection",
        "//inference//test-connection",
        "/prod//inference/test-connection/",
    ] {
        let answer = facade.get(path).await;
        assert_eq!(
            (answer.status, answer.body.as_str()),
            (StatusCode::OK, r#"{"message":"Success"}"#),
            "{path}"
        );
    }
    let answer = facade.get("/prod/inference").await;
    assert_eq!((answer.status, answer.body.as_str()), (StatusCode::OK, r#"{"message":"AIGC_SAGEMAKER"}"#));
}

#[tokio::test]
async fn what_is_no_route_is_answered_as_the_gateway_does() {
    let facade = Fixture::new().await;
    let want = (StatusCode::FORBIDDEN, r#"{"message":"Missing Authentication Token"}"#);
    for path in ["/", "/prod", "/inference/nonsense", "/metrics", "/worker/v1/models", "/readyz"] {
        let answer = facade.get(path).await;
        assert_eq!((answer.status, answer.body.as_str()), want, "{path}");
    }
    let answer = facade.public(post(TEST, KEY, String::new())).await;
    assert_eq!((answer.status, answer.body.as_str()), want, "wrong method");
}

#[tokio::test]
async fn browsers_may_ask_before_they_call() {
    let facade = Fixture::new().await;
    for path in ["/prod/inference-api/inference", "/easel/v1/models/m/files/f"] {
        let request = Request::options(path)
            .header("origin", "https://ui.example")
            .header("access-control-request-method", "POST")
            .header("access-control-request-headers", "x-api-key,content-type");
        let answer = facade.public(request.body(Body::empty()).unwrap()).await;
        assert_eq!(answer.status, StatusCode::OK, "{path}");
        assert_eq!(answer.headers["access-control-allow-origin"], "*");
        let allowed = answer.headers["access-control-allow-headers"].to_str().unwrap();
        assert!(allowed.contains("x-api-key") && allowed.contains("content-type"), "{allowed}");
        assert!(answer.headers["access-control-allow-methods"].to_str().unwrap().contains("PUT"));
    }
    let answer = facade.public(get(TEST, "wrong")).await;
    assert_eq!(answer.headers["access-control-allow-origin"], "*", "also on a refusal");
}

#[tokio::test]
async fn before_the_keys_are_read_nobody_is_refused_for_good() {
    let facade = Fixture::new().await;
    let (directory, _feeds) = easel_facade::catalog::Directory::new(1);
    let app = easel_facade::app::App::new(easel_facade::app::Parts {
        config: facade.app.config.clone(),
        jobs: facade.app.jobs.clone(),
        objects: facade.app.objects.clone(),
        embedded: facade.app.embedded.clone(),
        directory,
        cluster: facade.cluster.clone(),
        metrics: facade.app.metrics.clone(),
        tokens: easel_facade::worker_api::TokenCache::default(),
        manifests: easel_facade::datasets::Manifests::default(),
        shutdown: facade.app.shutdown.clone(),
    });
    let response =
        tower::ServiceExt::oneshot(easel_facade::router::public(&app), get(TEST, KEY)).await.unwrap();
    assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(response.headers()["retry-after"], "2");
    let request = Request::get("/readyz").body(Body::empty()).unwrap();
    let response = tower::ServiceExt::oneshot(easel_facade::router::internal(&app), request).await.unwrap();
    assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE);
    let body = http_body_util::BodyExt::collect(response.into_body()).await.unwrap().to_bytes();
    let want = r#"{"ready":false,"database":"ok","object_store":"ok","kubernetes":"not read yet: Endpoint, Model, ApiKey"}"#;
    assert_eq!(body, want);
}
