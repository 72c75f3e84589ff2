//! What a caller does wrong is told in the caller's dialect, and leaves nothing behind.

use easel_tests::rest::{Rest, request};
use easel_tests::tenant::with_tenant;
use reqwest::Method;
use serde_json::json;

const ROUTE: &str = "/inference-api/inference";

#[tokio::test]
async fn each_mistake_has_a_clear_answer_and_no_job() {
    with_tenant("mistakes", async |tenant| {
        let rest = &tenant.rest;
        // An endpoint whose model never comes: it exists, and is not ready.
        tenant
            .apply("{apiVersion: easel.dev/v1alpha1, kind: Endpoint, metadata: {name: waiting}, spec: {device: Cpu, models: [{name: nowhere}]}}")
            .await?;
        let waiting = tenant.wait_for("Endpoint", "waiting", "says why it is not ready", 20, |object| {
            easel_tests::objects::condition(object, "Ready").status == "False"
        });
        waiting.await;

        let wrong_key = Rest::new(&rest.url, "not-a-key")?;
        let reply = wrong_key.post(ROUTE, &request("waiting", "x", 5, 1)).await?;
        assert_eq!((reply.status.as_u16(), reply.text.as_str()), (403, "{\"message\":\"Forbidden\"}"));

        let cases = [
            ("unknown endpoint", request("missing", "x", 5, 1).to_string(), 400..=404, "missing"),
            ("no ready endpoint", request("waiting", "x", 5, 1).to_string(), 400..=400, "waiting"),
            ("malformed JSON", "{\"task_type\": ".to_owned(), 400..=400, "line 1"),
            ("oversize body", format!("{{\"prompt\": \"{}\"}}", "x".repeat(11 << 20)), 413..=413, "10485760"),
        ];
        for (name, body, status, names) in cases {
            let reply = rest.send(Method::POST, ROUTE, body.into_bytes()).await?;
            assert!(status.contains(&reply.status.as_u16()), "{name}: {} {}", reply.status, reply.text);
            assert!(reply.text.contains(names), "{name}: {}", reply.text);
            assert!(reply.json()["error"].is_string(), "{name} has an error: {}", reply.text);
        }
        let jobs = rest.get("/inference/list-inference-jobs").await?;
        assert_eq!(jobs.json(), json!([]));
        Ok(())
    })
    .await;
}

#[tokio::test]
async fn a_running_endpoint_refuses_what_it_cannot_do() {
    with_tenant("refusals", async |tenant| {
        tenant.serve_demo(1).await?;
        type Spoil = fn(&mut serde_json::Value);
        let cases: [(&str, Spoil, &str); 5] = [
            ("unknown sampler", |body| body["sampler_name"] = json!("Warp 9"), "Warp 9"),
            ("odd size", |body| body["width"] = json!(65), "65"),
            ("no steps", |body| body["steps"] = json!(0), "steps"),
            (
                "unknown checkpoint",
                |body| body["models"] = json!({"Stable-diffusion": ["nope.safetensors"]}),
                "nope.safetensors",
            ),
            ("unknown task", |body| body["task_type"] = json!("txt2video"), "txt2video"),
        ];
        for (name, spoil, names) in cases {
            let mut body = request("demo", "a red circle", 5, 1);
            spoil(&mut body);
            let reply = tenant.rest.post(ROUTE, &body).await?;
            assert!(reply.status.is_client_error(), "{name}: {} {}", reply.status, reply.text);
            assert!(reply.text.contains(names), "{name}: {}", reply.text);
        }
        let jobs = tenant.rest.get("/inference/list-inference-jobs").await?;
        assert_eq!(jobs.json(), json!([]));
        Ok(())
    })
    .await;
}
