//! The importer's calls.

use std::collections::BTreeMap;

use easel_facade::catalog::Transfer;
use easel_protocol::import::{
    CLAIM_IMPORT_PATH, COMPLETE_IMPORT_PATH, IMPORT_PROGRESS_PATH, ImportTask, Origin, PartDone,
    STORE_IMPORT_PATH, StoreDone, StorePlan,
};
use http::StatusCode;
use serde_json::{Value, json};

use crate::fixture::Fixture;
use crate::objects::WAITING_MODEL;

const WAITING: &str = "team/easel-import-waiting/pod";
const WEB: &str = "team/easel-import-web/pod";
const SHA: &str = "cccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccc";

/// The Model `waiting` once its upload is complete.
fn uploaded() -> String {
    let annotated =
        "metadata: {annotations: {easel.dev/upload-completed-at: \"2026-01-01T00:00:00Z\"}, name: waiting";
    WAITING_MODEL.replace("metadata: {name: waiting", annotated)
}

async fn task(facade: &Fixture, token: &str) -> ImportTask {
    let answer = facade.pod(token, CLAIM_IMPORT_PATH, &json!({})).await;
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.body);
    serde_json::from_str(&answer.body).unwrap()
}

async fn refusal(facade: &Fixture, token: &str, path: &str, body: &Value) -> (u16, String) {
    let answer = facade.pod(token, path, body).await;
    (answer.status.as_u16(), answer.json()["reason"].as_str().unwrap().to_owned())
}

#[tokio::test]
async fn there_is_nothing_to_import_before_it_is_there() {
    let facade = Fixture::new().await;
    let cases = [
        (WAITING, 409, "WaitingForUpload"),
        (WEB, 409, "SecretNotUsable"),
        ("team/easel-import-nowhere/pod", 503, "NotKnown"),
        ("others/easel-import-waiting/pod", 503, "NotKnown"),
        ("team/easel-endpoint-demo/pod", 403, "WrongIdentity"),
    ];
    for (token, status, reason) in cases {
        assert_eq!(
            refusal(&facade, token, CLAIM_IMPORT_PATH, &json!({})).await,
            (status, reason.to_owned()),
            "{token}"
        );
    }
}

#[tokio::test]
async fn the_task_tells_where_the_bytes_are() {
    let facade = Fixture::new().await;
    facade.apply_model(&uploaded());
    let uploaded = task(&facade, WAITING).await;
    assert_eq!((uploaded.model.as_str(), uploaded.model_type.as_str()), ("waiting", "Checkpoint"));
    let places: Vec<_> = uploaded
        .files
        .iter()
        .map(|file| match &file.origin {
            Origin::Stored { key, url } => {
                (file.name.as_str(), key.as_str(), url.contains("X-Amz-Signature="))
            }
            _ => panic!("{file:?}"),
        })
        .collect();
    assert_eq!(
        places,
        [
            ("a.safetensors", "models/team/waiting/upload/a.safetensors", true),
            ("b.safetensors", "models/team/waiting/upload/b.safetensors", true),
        ]
    );
    let stored = task(&facade, "team/easel-import-unlisted/pod").await;
    assert!(
        matches!(&stored.files[0].origin, Origin::Stored { key, .. } if key == "import/unlisted.safetensors")
    );

    let headers = BTreeMap::from([("Authorization".to_owned(), b"Bearer secret\n".to_vec())]);
    facade.cluster.secrets.lock().unwrap().insert("team/web-headers http-headers".into(), headers);
    let web = task(&facade, WEB).await;
    let want = Origin::Http {
        url: "https://models.example/a/web.safetensors?token=1".into(),
        headers: vec![("Authorization".into(), "Bearer secret".into())],
    };
    assert_eq!((web.files[0].name.as_str(), &web.files[0].origin), ("web.safetensors", &want));
    let bad = BTreeMap::from([("Authorization".to_owned(), b"two\nlines".to_vec())]);
    facade.cluster.secrets.lock().unwrap().insert("team/web-headers http-headers".into(), bad);
    let answer = facade.pod(WEB, CLAIM_IMPORT_PATH, &json!({})).await;
    assert_eq!(answer.status, StatusCode::CONFLICT);
    assert!(!answer.body.contains("two"), "{}", answer.body);
}

#[tokio::test]
async fn progress_is_written_while_the_model_is_not_ready() {
    let facade = Fixture::new().await;
    let body = json!({"bytesDone": 10, "bytesTotal": 40, "bytesPerSecond": 3});
    for token in [WEB, "team/easel-import-demo-model/pod"] {
        assert_eq!(facade.pod(token, IMPORT_PROGRESS_PATH, &body).await.status, StatusCode::NO_CONTENT);
    }
    let want = Transfer { bytes_done: 10, bytes_total: Some(40), bytes_per_second: 3 };
    assert_eq!(*facade.cluster.transfers.lock().unwrap(), [("team/web".to_owned(), want)]);
    let odd = refusal(&facade, WEB, IMPORT_PROGRESS_PATH, &json!({"bytesDone": -1})).await;
    assert_eq!(odd, (400, "InvalidRequest".to_owned()));
}

#[tokio::test]
async fn bytes_are_stored_once_under_their_hash() {
    let facade = Fixture::listening().await;
    let http = reqwest::Client::new();
    let request = json!({"sha256": SHA, "sizeBytes": 11});
    let answer = facade.pod(WEB, STORE_IMPORT_PATH, &request).await;
    let plan: StorePlan = serde_json::from_str(&answer.body).unwrap();
    assert_eq!((plan.key.as_str(), plan.parts.len()), (format!("models/sha256/{SHA}").as_str(), 1));
    let sent = http.put(&plan.parts[0].url).body("hello model").send().await.unwrap();
    assert_eq!(sent.status(), StatusCode::OK);
    let etag = sent.headers()["etag"].to_str().unwrap().to_owned();
    let done = StoreDone {
        key: plan.key.clone(),
        upload_id: plan.upload_id,
        size_bytes: 11,
        parts: vec![PartDone { part_number: 1, etag }],
    };
    let body = serde_json::to_value(&done).unwrap();
    for _ in 0..2 {
        let answer = facade.pod(WEB, COMPLETE_IMPORT_PATH, &body).await;
        assert_eq!(answer.status, StatusCode::NO_CONTENT, "also when it is repeated: {}", answer.body);
    }
    let answer = facade.pod(WEB, STORE_IMPORT_PATH, &request).await;
    let plan: StorePlan = serde_json::from_str(&answer.body).unwrap();
    assert_eq!((plan.parts.len(), plan.upload_id.as_str()), (0, ""), "it is there already");
    facade.end().await;
}

#[tokio::test]
async fn an_importer_cannot_write_where_it_likes() {
    let facade = Fixture::new().await;
    let done = |key: &str, size: u64| json!({"key": key, "uploadId": "", "sizeBytes": size, "parts": []});
    let cases = [
        (STORE_IMPORT_PATH, json!({"sha256": "../x", "sizeBytes": 1})),
        (STORE_IMPORT_PATH, json!({"sha256": SHA, "sizeBytes": 0})),
        (STORE_IMPORT_PATH, json!({"sha256": SHA, "sizeBytes": u64::MAX})),
        (COMPLETE_IMPORT_PATH, done("models/team/x", 1)),
        (COMPLETE_IMPORT_PATH, done("models/sha256/../../out/x", 1)),
        (COMPLETE_IMPORT_PATH, done(&format!("models/sha256/{SHA}"), 1)),
    ];
    for (path, body) in cases {
        assert_eq!(
            refusal(&facade, WEB, path, &body).await,
            (400, "InvalidRequest".to_owned()),
            "{path} {body}"
        );
    }
    // A wrong word about an object that is there leaves it there.
    let key = format!("models/sha256/{SHA}").parse().unwrap();
    facade.app.objects.put(&key, bytes::Bytes::from_static(b"other"), "x/y").await.unwrap();
    let body = done(&format!("models/sha256/{SHA}"), 1);
    assert_eq!(refusal(&facade, WEB, COMPLETE_IMPORT_PATH, &body).await.0, 400);
    assert!(facade.app.objects.head(&key).await.unwrap().is_some());
}
