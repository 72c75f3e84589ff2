//! Easel's own API: sending the files of a Model.

use axum::body::Body;
use axum::extract::Request;
use http::StatusCode;
use serde_json::{Value, json};

use crate::fixture::{Answer, Fixture, post};
use crate::objects::{BOUND_KEY, KEY, MODELS_KEY, OTHER_KEY};

const UPLOADS: &str = "/easel/v1/models/waiting/uploads";

fn put(path: &str, key: &str, body: &str) -> Request {
    let request = Request::put(path).header("x-api-key", key).header("content-length", body.len());
    request.body(Body::from(body.to_owned())).unwrap()
}

fn reason(answer: &Answer) -> (u16, String) {
    (answer.status.as_u16(), answer.json()["reason"].as_str().unwrap_or_default().to_owned())
}

#[tokio::test]
async fn only_declared_files_of_a_waiting_model_are_taken() {
    let facade = Fixture::with(&["--max-upload-bytes", "1000"], None).await;
    let cases = [
        ("/easel/v1/models/nope/files/a", KEY, "x", 404, "NotFound"),
        ("/easel/v1/models/waiting/files/a.safetensors", MODELS_KEY, "short", 400, "WrongSize"),
        ("/easel/v1/models/waiting/files/c.safetensors", KEY, "x", 400, "NotDeclared"),
        ("/easel/v1/models/waiting/files/..%2f..%2fx", KEY, "x", 400, "NotDeclared"),
        ("/easel/v1/models/waiting/files/b.safetensors", KEY, "", 400, "InvalidRequest"),
        ("/easel/v1/models/waiting/files/b.safetensors", KEY, &"x".repeat(1001), 413, "TooLarge"),
        ("/easel/v1/models/web/files/web.safetensors", KEY, "x", 409, "NotAnUpload"),
        ("/easel/v1/models/demo-model/files/weights.safetensors", KEY, "x", 409, "AlreadyReady"),
    ];
    for (path, key, body, status, want) in cases {
        let answer = facade.public(put(path, key, body)).await;
        assert_eq!(reason(&answer), (status, want.to_owned()), "{path}: {}", answer.body);
    }
    for key in [OTHER_KEY, BOUND_KEY, "wrong"] {
        let answer = facade.public(put("/easel/v1/models/waiting/files/b.safetensors", key, "x")).await;
        assert_eq!(
            (answer.status, answer.body.as_str()),
            (StatusCode::FORBIDDEN, r#"{"message":"Forbidden"}"#)
        );
    }
    // A body that hides its length is cut off as well.
    let stream =
        futures::stream::iter((0..20).map(|_| Ok::<_, std::io::Error>(bytes::Bytes::from(vec![0; 100]))));
    let request = Request::put("/easel/v1/models/waiting/files/b.safetensors").header("x-api-key", KEY);
    let answer = facade.public(request.body(Body::from_stream(stream)).unwrap()).await;
    assert_eq!(reason(&answer), (413, "TooLarge".to_owned()));
    assert!(facade.cluster.uploaded.lock().unwrap().is_empty());
}

#[tokio::test]
async fn the_last_of_the_files_completes_the_upload() {
    let facade = Fixture::new().await;
    let answer =
        facade.public(put("/easel/v1/models/waiting/files/a.safetensors", MODELS_KEY, "123456")).await;
    let want = json!({"model": "waiting", "complete": false, "missing": ["b.safetensors"]});
    assert_eq!((answer.status, answer.json()), (StatusCode::CREATED, want));
    assert!(facade.cluster.uploaded.lock().unwrap().is_empty());
    let answer = facade.public(put("/easel/v1/models/waiting/files/b.safetensors", KEY, "any size")).await;
    let want = json!({"model": "waiting", "complete": true, "missing": []});
    assert_eq!((answer.status, answer.json()), (StatusCode::CREATED, want));
    assert_eq!(*facade.cluster.uploaded.lock().unwrap(), ["team/waiting"]);
    let key = "models/team/waiting/upload/b.safetensors".parse().unwrap();
    let stored = facade.app.objects.get(&key, None).await.unwrap().bytes(100).await.unwrap();
    assert_eq!(stored, "any size");
}

#[tokio::test]
async fn files_may_come_in_parts() {
    let facade = Fixture::listening().await;
    let http = reqwest::Client::new();
    let files = json!({"files": [{"name": "a.safetensors", "size_bytes": 6}, {"name": "b.safetensors", "size_bytes": 3}]});
    let begun = http.post(format!("{}{UPLOADS}", facade.public)).header("x-api-key", KEY).json(&files);
    let begun: Value = begun.send().await.unwrap().json().await.unwrap();
    let mut done = Vec::new();
    for (file, content) in begun["files"].as_array().unwrap().iter().zip(["123456", "789"]) {
        let part = &file["parts"][0];
        let url = part["url"].as_str().unwrap();
        assert!(url.starts_with(&facade.public), "signed for where the caller is: {url}");
        let sent = http.put(url).body(content).send().await.unwrap();
        assert_eq!(sent.status(), StatusCode::OK, "{}", sent.text().await.unwrap());
        done.push(json!({
            "name": file["name"], "upload_id": file["upload_id"],
            "parts": [{"part_number": 1, "etag": sent.headers()["etag"].to_str().unwrap()}],
        }));
    }
    let body = json!({"files": done}).to_string();
    for _ in 0..2 {
        let answer =
            facade.public(post("/easel/v1/models/waiting/uploads/complete", KEY, body.clone())).await;
        let want = json!({"model": "waiting", "complete": true, "missing": []});
        assert_eq!((answer.status, answer.json()), (StatusCode::OK, want), "also when it is repeated");
    }
    assert_eq!(facade.cluster.uploaded.lock().unwrap().len(), 2);
    facade.end().await;
}

#[tokio::test]
async fn a_wrong_plan_or_part_is_refused() {
    let facade = Fixture::new().await;
    let one = |name: &str, size: u64| json!({"files": [{"name": name, "size_bytes": size}]});
    let part = json!({"files": [{"name": "a.safetensors", "upload_id": "nonsense", "parts": [{"part_number": 1, "etag": "x"}]}]});
    let complete = "/easel/v1/models/waiting/uploads/complete";
    let cases = [
        (UPLOADS, json!({"files": []}), 400, "InvalidRequest"),
        (UPLOADS, one("c.safetensors", 6), 400, "NotDeclared"),
        (UPLOADS, one("a.safetensors", 7), 400, "WrongSize"),
        (UPLOADS, one("b.safetensors", 0), 400, "InvalidRequest"),
        (UPLOADS, one("b.safetensors", u64::MAX), 413, "TooLarge"),
        (UPLOADS, json!({"files": [{"name": "b.safetensors"}]}), 400, "InvalidRequest"),
        (complete, part, 400, "InvalidUpload"),
    ];
    for (path, body, status, want) in cases {
        let answer = facade.post(path, &body).await;
        assert_eq!(reason(&answer), (status, want.to_owned()), "{body}: {}", answer.body);
    }
    let answer = facade.post(complete, &json!({"files": []})).await;
    let want = json!({"model": "waiting", "complete": false, "missing": ["a.safetensors", "b.safetensors"]});
    assert_eq!((answer.status, answer.json()), (StatusCode::OK, want));
}
