//! `POST /inference-api/inference`: what is taken, what is refused and how.

use axum::body::Body;
use axum::extract::Request;
use easel_protocol::{Sampler, Schedule};
use easel_store::jobs::{JobFilter, JobState};
use http::StatusCode;
use serde_json::{Value, json};

use crate::fixture::{Fixture, post};
use crate::objects::{BOUND_KEY, KEY, OTHER_KEY, SHA};

const PATH: &str = "/prod/inference-api/inference";

fn body(extra: &Value) -> Value {
    let mut body = json!({
        "task_type": "txt2img", "prompt": "a red circle", "sagemaker_endpoint_name": "demo",
        "models": {"Stable-diffusion": ["easel-demo.safetensors"]},
    });
    for (name, value) in extra.as_object().unwrap() {
        body[name] = value.clone();
    }
    body
}

/// Status, `error` and `err` of the refusal; also that nothing was stored.
async fn refused(facade: &Fixture, key: &str, body: &Value) -> (u16, Value, Value) {
    let answer = facade.public(post(PATH, key, body.to_string())).await;
    let json = answer.json();
    assert_eq!(json["statusCode"], answer.status.as_u16());
    assert_eq!(json["status"], "failed");
    for namespace in ["team", "others"] {
        assert!(facade.app.jobs.list(&JobFilter::new(namespace)).await.unwrap().jobs.is_empty(), "{body}");
    }
    (answer.status.as_u16(), json["error"].clone(), json["err"].clone())
}

#[tokio::test]
async fn a_refusal_says_what_is_wrong_and_what_would_be_right() {
    let facade = Fixture::new().await;
    let cases = [
        (
            json!({"sagemaker_endpoint_name": "nowhere"}),
            "endpoint \"nowhere\" is not found; known are broken, starting, busy, demo",
        ),
        (json!({"sagemaker_endpoint_name": "foreign"}), "endpoint \"foreign\" is not found"),
        (json!({"sagemaker_endpoint_name": null}), "no endpoint is named"),
        (
            json!({"sagemaker_endpoint_name": "starting"}),
            "endpoint \"starting\" is not InService: Unschedulable: no node has room (last failure: Unschedulable: 0/1 \
             nodes are available)",
        ),
        (
            json!({"sagemaker_endpoint_name": "broken"}),
            "endpoint \"broken\" is not InService: ModelLoadFailed: header length lies",
        ),
        (
            json!({"sampler_name": "Warp 9"}),
            "sampler_name: sampler \"Warp 9\" is not known; known are Euler, Euler a, LMS, Heun, DPM2,",
        ),
        (json!({"task_type": "img2img"}), "task_type: \"img2img\" is not available; txt2img is"),
        (
            json!({"enable_hr": true}),
            "enable_hr asks for something that is not available here; leave it out or send false",
        ),
        (json!({"width": 100}), "width is 100; a multiple of 8, 64 or more, is needed"),
        (
            json!({"width": 2048}),
            "width × height is 1048576; at most 1048576 pixels are allowed by the endpoint",
        ),
        (json!({"steps": 51}), "steps is 51; 1 to 50 are allowed"),
        (json!({"n_iter": 5}), "batch_size × n_iter is 5; 1 to 4 are allowed"),
        (json!({"cfg_scale": 0.5}), "cfg_scale is 0.5; 1 to 50 is allowed"),
        (json!({"steps": "many"}), "steps: \"many\" is not a whole number"),
    ];
    for (extra, want) in cases {
        // 2048 × 512 is the limit itself; one row more is not.
        let extra =
            if extra == json!({"width": 2048}) { json!({"width": 2048, "height": 520}) } else { extra };
        let (status, error, err) = refused(&facade, KEY, &body(&extra)).await;
        let error = error.as_str().unwrap();
        let want = want.replace("is 1048576;", "is 1064960;");
        assert!(status == 400 && error.starts_with(&want), "{extra}: {status} {error}");
        assert_eq!(err, error, "{extra}");
    }
}

#[tokio::test]
async fn every_checkpoint_that_is_wrong_is_named() {
    let facade = Fixture::new().await;
    let names = ["nope.safetensors", "unlisted", "waiting", "easel-demo.safetensors"];
    let (status, error, err) =
        refused(&facade, KEY, &body(&json!({"models": {"Stable-diffusion": names}}))).await;
    let want = [
        "checkpoint with name nope.safetensors, type Stable-diffusion is not found; known are easel-demo.safetensors",
        "checkpoint with name unlisted, type Stable-diffusion is not among the models of endpoint demo",
        "checkpoint with name waiting, type Stable-diffusion is not Active: WaitingForUpload: send the files",
    ];
    assert_eq!((status, error), (400, json!(want)));
    assert_eq!(err, want.join(", "));
}

#[tokio::test]
async fn a_key_reaches_no_other_tenant_and_no_other_endpoint() {
    let facade = Fixture::new().await;
    let (status, error, _) = refused(&facade, OTHER_KEY, &body(&json!({}))).await;
    assert_eq!((status, error), (400, json!("endpoint \"demo\" is not found; known are foreign")));
    let (status, error, _) = refused(&facade, BOUND_KEY, &body(&json!({}))).await;
    assert_eq!((status, error), (400, json!("endpoint \"demo\" is not found; known are busy")));
    // The endpoint that the key stands for need not be named.
    let answer =
        facade.public(post(PATH, BOUND_KEY, body(&json!({"sagemaker_endpoint_name": ""})).to_string())).await;
    assert_eq!((answer.status, &answer.json()["endpoint_name"]), (StatusCode::OK, &json!("busy")));
}

#[tokio::test]
async fn a_body_that_is_no_json_is_located() {
    let facade = Fixture::new().await;
    let cases = [
        ("", "the body is not JSON: EOF while parsing a value at line 1 column 0"),
        ("{\"prompt\": \"a\",\n \"steps\": }", "steps: expected value at line 2 column 11"),
        ("[1, 2]", "expected"),
        ("{\"models\": \"x\"}", "models: invalid type: string \"x\", expected a map at line 1 column 14"),
    ];
    for (body, want) in cases {
        let answer = facade.public(post(PATH, KEY, body.to_owned())).await;
        assert_eq!(answer.status, StatusCode::BAD_REQUEST, "{body}");
        let error = answer.json()["error"].as_str().unwrap().to_owned();
        assert!(error.contains(want), "{error}");
    }
}

#[tokio::test]
async fn an_oversize_body_is_refused_in_the_same_shape() {
    let facade = Fixture::with(&["--max-body-bytes", "1000"], None).await;
    let long = body(&json!({"prompt": "x".repeat(2000)})).to_string();
    let want = json!({
        "statusCode": 413, "status": "failed",
        "error": "the body is larger than 1000 bytes, the most that is accepted",
        "err": "the body is larger than 1000 bytes, the most that is accepted",
    });
    for announced in [true, false] {
        let mut request = post(PATH, KEY, long.clone());
        if announced {
            request.headers_mut().insert("content-length", long.len().into());
        }
        let answer = facade.public(request).await;
        assert_eq!((answer.status, answer.json()), (StatusCode::PAYLOAD_TOO_LARGE, want.clone()));
    }
}

#[tokio::test]
async fn a_client_that_sends_too_much_gets_to_read_the_answer() {
    let facade = Fixture::listening().await;
    let http = reqwest::Client::new();
    let body = format!("{{\"prompt\": \"{}\"}}", "x".repeat(11 << 20));
    for path in [PATH, "/easel/v1/models/demo-model/files/weights.safetensors"] {
        let method = if path == PATH { reqwest::Method::POST } else { reqwest::Method::PUT };
        let request = http.request(method, format!("{}{path}", facade.public)).header("x-api-key", KEY);
        let answer = request.body(body.clone()).send().await.unwrap();
        let status = answer.status().as_u16();
        let text = answer.text().await.unwrap();
        assert!([(PATH, 413), (path, 409)].contains(&(path, status)), "{path}: {status} {text}");
        assert!(text.contains("10485760") || text.contains("AlreadyReady"), "{text}");
    }
    facade.end().await;
}

#[tokio::test]
async fn a_full_queue_asks_to_come_again() {
    let facade = Fixture::new().await;
    let busy = body(&json!({"sagemaker_endpoint_name": "busy"}));
    assert_eq!(facade.post(PATH, &busy).await.status, StatusCode::OK);
    let answer = facade.post(PATH, &busy).await;
    assert_eq!(answer.status, StatusCode::TOO_MANY_REQUESTS);
    assert_eq!(answer.headers["retry-after"], "5");
    assert_eq!(answer.json()["error"], "the queue of endpoint \"busy\" is full: 1 jobs wait, 1 may");
    assert_eq!(facade.app.jobs.list(&JobFilter::new("team")).await.unwrap().jobs.len(), 1);
}

#[tokio::test]
async fn a_request_becomes_a_job_whatever_its_content_type() {
    let facade = Fixture::new().await;
    // As Python and the browser send it: no JSON content type, a bare Infinity, unknown fields.
    let sent = r#"{"task_type": "txt2img", "prompt": "a red circle", "negative_prompt": "blue",
        "models": {"Stable-diffusion": ["easel-demo.safetensors"], "Lora": []}, "sagemaker_endpoint_name": "demo",
        "s_tmax": Infinity, "seed": 7, "steps": 20, "sampler_index": "DPM++ 2M Karras", "width": 128, "height": 64,
        "n_iter": 2, "override_settings": {"CLIP_stop_at_last_layers": 2}, "something_new": [NaN]}"#;
    let request =
        Request::post(PATH).header("x-api-key", KEY).header("content-type", "text/plain;charset=UTF-8");
    let answer = facade.public(request.body(Body::from(sent)).unwrap()).await;
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.body);
    let jobs = facade.app.jobs.list(&JobFilter::new("team")).await.unwrap().jobs;
    let [job] = jobs.as_slice() else { panic!("{jobs:?}") };
    let id = job.id.to_string();
    let output = format!("s3://easel/out/{id}/result");
    let want = format!(
        r#"{{"inference_id":"{id}","status":"inprogress","endpoint_name":"demo","output_path":"{output}","statusCode":200,"inference":{{"inference_id":"{id}","status":"inprogress","endpoint_name":"demo","output_path":"{output}","type":"txt2img","models":[{{"id":"model-uid","name":["easel-demo.safetensors"],"type":"Stable-diffusion"}}],"api_params_s3_location":"{output}/{id}_param.json"}}}}"#
    );
    assert_eq!(answer.body, want);
    assert_eq!((job.state, job.endpoint.as_str(), job.dialect.as_str()), (JobState::Queued, "demo", "aws"));
    assert_eq!((job.checkpoint.as_str(), job.timeout_seconds, job.max_tries), (SHA, 60, 3));
    let request = &job.request;
    assert_eq!((request.prompt.as_str(), request.negative_prompt.as_str()), ("a red circle", "blue"));
    assert_eq!((request.checkpoint.as_str(), request.seed, request.steps), ("demo-model", 7, 20));
    assert_eq!((request.width, request.height, request.batch_count, request.clip_skip), (128, 64, 2, 2));
    assert_eq!((request.sampler, request.schedule), (Sampler::DpmPlusPlus2M, Schedule::Karras));
}

#[tokio::test]
async fn the_same_idempotency_key_gives_the_same_job() {
    let facade = Fixture::new().await;
    let send = async |key: &str| {
        let mut request = post(PATH, KEY, body(&json!({})).to_string());
        request.headers_mut().insert("idempotency-key", key.parse().unwrap());
        facade.public(request).await
    };
    let (first, again, other) = (send("one").await, send("one").await, send("two").await);
    assert_eq!(first.json()["inference_id"], again.json()["inference_id"]);
    assert_ne!(first.json()["inference_id"], other.json()["inference_id"]);
    let long = send(&"x".repeat(129)).await;
    assert_eq!(
        (long.status, &long.json()["error"]),
        (StatusCode::BAD_REQUEST, &json!("Idempotency-Key: 1 to 128 ASCII characters are allowed"),)
    );
    assert_eq!(facade.app.jobs.list(&JobFilter::new("team")).await.unwrap().jobs.len(), 2);
}
