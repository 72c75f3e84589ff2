//! What only the internal port has.

use axum::body::Body;
use axum::extract::Request;
use http::StatusCode;
use serde_json::json;

use crate::fixture::{Answer, Fixture};

async fn get(facade: &Fixture, path: &str) -> Answer {
    facade.internal(Request::get(path).body(Body::empty()).unwrap()).await
}

#[tokio::test]
async fn probes_say_how_it_is() {
    let facade = Fixture::new().await;
    assert_eq!(get(&facade, "/healthz").await.body, "ok");
    let answer = get(&facade, "/readyz").await;
    let want = r#"{"ready":true,"database":"ok","object_store":"ok","kubernetes":"ok"}"#;
    assert_eq!((answer.status, answer.body.as_str()), (StatusCode::OK, want));
    facade.app.jobs.close().await;
    let answer = get(&facade, "/readyz").await;
    assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE);
    let state = answer.json();
    assert_eq!((&state["ready"], &state["object_store"]), (&json!(false), &json!("ok")));
    assert_ne!(state["database"], "ok");
}

#[tokio::test]
async fn metrics_show_the_queues() {
    let facade = Fixture::new().await;
    let body = json!({
        "task_type": "txt2img", "sagemaker_endpoint_name": "demo", "models": {"Stable-diffusion": ["easel-demo.safetensors"]},
    });
    assert_eq!(facade.post("/inference-api/inference", &body).await.status, StatusCode::OK);
    let text = get(&facade, "/metrics").await.body;
    for line in [
        r#"easel_jobs{endpoint="demo",namespace="team",state="pending"} 1"#,
        r#"easel_jobs{endpoint="busy",namespace="team",state="pending"} 0"#,
        r#"easel_http_requests_total{listener="public",method="POST",route="/inference-api/inference",status="200"} 1"#,
        "process_resident_memory_bytes ",
    ] {
        assert!(text.contains(line), "{line}\n{text}");
    }
}

#[tokio::test]
async fn the_internal_port_has_no_dialect() {
    let facade = Fixture::new().await;
    let answer = get(&facade, "/inference/test-connection").await;
    assert_eq!(
        (answer.status, answer.json()),
        (StatusCode::NOT_FOUND, json!({"reason": "NotFound", "message": "no such route"}),)
    );
}
