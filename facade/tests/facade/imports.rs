//! The importer's calls.

use std::collections::BTreeMap;

use easel_facade::catalog::Transfer;
use easel_protocol::import::{
    CLAIM_IMPORT_PATH, COMPLETE_IMPORT_PATH, IMPORT_PROGRESS_PATH, ImportPhase, ImportTask, Origin, PartDone,
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

/// A Model of the namespace `team` with this source, and its importer's token.
fn sourced(facade: &Fixture, name: &str, source: &str) -> String {
    facade.apply_model(&format!(
        "apiVersion: easel.dev/v1alpha1\nkind: Model\nmetadata: {{name: {name}, namespace: team, uid: u-{name}}}\n\
         spec: {{type: Checkpoint, source: {source}}}\n"
    ));
    format!("team/easel-import-{name}/pod")
}

fn put_secret(facade: &Fixture, name: &str, label: &str, entries: &[(&str, &str)]) {
    let data = entries.iter().map(|(key, value)| ((*key).to_owned(), value.as_bytes().to_vec())).collect();
    facade.cluster.secrets.lock().unwrap().insert(format!("team/{name} {label}"), data);
}

#[tokio::test]
async fn an_object_of_another_account_is_read_with_its_credentials_and_no_others() {
    let theirs = Fixture::listening().await;
    let key = "sd/a b.safetensors".parse().unwrap();
    theirs.app.objects.put(&key, bytes::Bytes::from_static(b"their bytes"), "x/y").await.unwrap();
    let credentials = std::fs::read(theirs.directory.path().join("objects/credentials.json")).unwrap();
    let credentials: Value = serde_json::from_slice(&credentials).unwrap();
    let text = |name: &str| credentials[name].as_str().unwrap().to_owned();
    let (id, good) = (text("accessKeyId"), text("secretAccessKey") + "\n");
    let facade = Fixture::new().await;
    let source = |secret: &str| {
        format!(
            "{{s3: {{bucket: easel, key: \"sd/a b.safetensors\", endpoint: \"{}\", sha256: {SHA}{secret}}}}}",
            theirs.public
        )
    };
    let http = reqwest::Client::new();
    for (name, secret, status) in
        [("good", Some(good.as_str()), 200), ("bad", Some("guessed"), 403), ("plain", None, 403)]
    {
        let reference = secret.map_or(String::new(), |secret| {
            put_secret(
                &facade,
                name,
                "s3-credentials",
                &[("accessKeyId", id.as_str()), ("secretAccessKey", secret)],
            );
            format!(", credentialsSecretRef: {{name: {name}}}")
        });
        let task = task(&facade, &sourced(&facade, name, &source(&reference))).await;
        let file = &task.files[0];
        assert_eq!((file.name.as_str(), file.sha256.as_deref()), ("a b.safetensors", Some(SHA)));
        let Origin::Http { url, headers } = &file.origin else { panic!("{file:?}") };
        assert!(headers.is_empty(), "nothing but the address reaches the importer");
        let answer = http.get(url).send().await.unwrap();
        assert_eq!(answer.status().as_u16(), status, "{name}");
        if status == 200 {
            assert_eq!(answer.bytes().await.unwrap(), "their bytes");
        }
    }
    put_secret(&facade, "half", "s3-credentials", &[("accessKeyId", id.as_str())]);
    let half = sourced(&facade, "half", &source(", credentialsSecretRef: {name: half}"));
    assert_eq!(refusal(&facade, &half, CLAIM_IMPORT_PATH, &json!({})).await, (409, "SecretNotUsable".into()));
    theirs.end().await;
}

#[tokio::test]
async fn hubs_sites_and_volumes_are_named_with_the_tokens_of_labelled_secrets() {
    let flags = ["--hugging-face-endpoint=http://hub.test/hf", "--civitai-endpoint=https://civitai.test"];
    let facade = Fixture::with(&flags, None).await;
    put_secret(&facade, "hub", "access-token", &[("token", "hf_secret\n")]);
    let hub = "{huggingFace: {repository: a/b, revision: v1, files: [\"*.json\"], ignore: [vae/], \
               tokenSecretRef: {name: hub, key: token}}}";
    let origin = async |name: &str, source: &str| {
        let task = task(&facade, &sourced(&facade, name, source)).await;
        task.files[0].origin.clone()
    };
    let want = Origin::HuggingFace {
        endpoint: "http://hub.test/hf".into(),
        repository: "a/b".into(),
        revision: "v1".into(),
        files: vec!["*.json".into()],
        ignore: vec!["vae/".into()],
        token: Some("hf_secret".into()),
    };
    let got = origin("hub", hub).await;
    assert_eq!(got, want);
    assert!(!format!("{got:?}").contains("hf_secret"), "{got:?}");
    let want = Origin::Civitai { endpoint: "https://civitai.test/".into(), model_version_id: 7, token: None };
    assert_eq!(origin("civitai", "{civitai: {modelVersionId: 7}}").await, want);
    let volume = "{volume: {claimName: weights, path: sd/a.safetensors}}";
    assert_eq!(origin("volume", volume).await, Origin::Volume { path: "sd/a.safetensors".into() });

    // A Secret for one use is none for another, whoever names it.
    put_secret(&facade, "keys", "s3-credentials", &[("token", "hf_secret")]);
    let refused = [
        ("label", hub.replace("name: hub", "name: keys"), "SecretNotUsable"),
        ("entry", hub.replace("key: token", "key: other"), "SecretNotUsable"),
        (
            "merge",
            "{merge: {method: WeightedSum, models: [{name: a}, {name: b}]}}".into(),
            "WaitingForModels",
        ),
    ];
    for (name, source, reason) in refused {
        let token = sourced(&facade, name, &source);
        assert_eq!(
            refusal(&facade, &token, CLAIM_IMPORT_PATH, &json!({})).await,
            (409, reason.into()),
            "{name}"
        );
    }
}

#[tokio::test]
async fn progress_is_written_while_the_model_is_not_ready() {
    let facade = Fixture::new().await;
    let body = json!({"phase": "Storing", "bytesDone": 10, "bytesTotal": 40, "bytesPerSecond": 3});
    for token in [WEB, "team/easel-import-demo-model/pod"] {
        assert_eq!(facade.pod(token, IMPORT_PROGRESS_PATH, &body).await.status, StatusCode::NO_CONTENT);
    }
    let want = Transfer {
        phase: Some(ImportPhase::Storing),
        bytes_done: 10,
        bytes_total: Some(40),
        bytes_per_second: 3,
    };
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
