//! The trainer's calls: claim, progress, checkpoints, samples, the result, and a Model made of it.

use std::collections::BTreeMap;

use bytes::Bytes;
use easel_crds::training_job::TrainingJobStatus;
use easel_protocol::import::{CLAIM_IMPORT_PATH, ImportTask, Origin, PartDone, StoreDone, StorePlan};
use easel_protocol::training::{
    CHECKPOINT_PATH, CLAIM_TRAINING_PATH, COMPLETE_CHECKPOINT_PATH, COMPLETE_SAMPLES_PATH,
    COMPLETE_TRAINED_PATH, CheckpointPlan, SAMPLES_PATH, STORE_TRAINED_PATH, SamplesPlan,
    TRAINING_PROGRESS_PATH, TrainLength, TrainMethod, TrainTask,
};
use http::StatusCode;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::fixture::Fixture;
use crate::objects::TRAINING;

const TRAINER: &str = "team/easel-train-run/pod";

async fn task(facade: &Fixture) -> TrainTask {
    let answer = facade.pod(TRAINER, CLAIM_TRAINING_PATH, &json!({})).await;
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.body);
    serde_json::from_str(&answer.body).unwrap()
}

async fn refusal(facade: &Fixture, token: &str, path: &str, body: &Value) -> (u16, String) {
    let answer = facade.pod(token, path, body).await;
    (answer.status.as_u16(), answer.json()["reason"].as_str().unwrap().to_owned())
}

fn status(facade: &Fixture) -> TrainingJobStatus {
    facade.cluster.trainings.lock().unwrap()[0].status.clone().unwrap_or_default()
}

fn condition(kind: &str) -> String {
    format!(
        "{TRAINING}status: {{conditions: [{{type: {kind}, status: \"True\", reason: R, message: m, \
         lastTransitionTime: \"2026-01-01T00:00:00Z\"}}]}}\n"
    )
}

/// Sends the parts of a plan, as a trainer does.
async fn send(plan: &StorePlan, content: &[u8]) -> StoreDone {
    let http = reqwest::Client::new();
    let mut parts = Vec::new();
    for slot in &plan.parts {
        let sent = http.put(&slot.url).body(content.to_vec()).send().await.unwrap();
        assert_eq!(sent.status(), StatusCode::OK);
        let etag = sent.headers()["etag"].to_str().unwrap().to_owned();
        parts.push(PartDone { part_number: slot.part_number, etag });
    }
    let (key, upload_id) = (plan.key.clone(), plan.upload_id.clone());
    StoreDone { key, upload_id, size_bytes: content.len() as u64, parts }
}

async fn plan(facade: &Fixture, step: u64, files: &[(&str, &[u8])]) -> CheckpointPlan {
    let files: Vec<Value> =
        files.iter().map(|(name, content)| json!({"name": name, "sizeBytes": content.len()})).collect();
    let answer = facade.pod(TRAINER, CHECKPOINT_PATH, &json!({"step": step, "files": files})).await;
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.body);
    serde_json::from_str(&answer.body).unwrap()
}

/// A whole checkpoint, said twice, as after a lost answer.
async fn checkpoint(facade: &Fixture, step: u64, files: &[(&str, &[u8])]) {
    let plan = plan(facade, step, files).await;
    let mut done = Vec::new();
    for (plan, (_, content)) in plan.files.iter().zip(files) {
        done.push(send(plan, content).await);
    }
    for _ in 0..2 {
        let body = json!({"step": step, "files": done});
        let answer = facade.pod(TRAINER, COMPLETE_CHECKPOINT_PATH, &body).await;
        assert_eq!(answer.status, StatusCode::NO_CONTENT, "{}", answer.body);
    }
}

#[tokio::test]
async fn the_task_is_complete() {
    let facade = Fixture::new().await;
    let first = task(&facade).await;
    let base: Vec<&str> = first.base.iter().map(|file| file.file_name.as_str()).collect();
    assert_eq!((first.base_model.as_str(), base), ("demo-model", vec!["weights.safetensors"]));
    assert!(matches!(first.method, TrainMethod::Lora { rank: 8, .. }), "{:?}", first.method);
    assert_eq!(first.hyperparameters.length, TrainLength::Steps(20));
    assert_eq!(first.hyperparameters.learning_rate, 1e-3);
    assert_eq!((first.output.file_name.as_str(), first.resume.is_none()), ("style.safetensors", true));
    assert_eq!(first.samples.as_ref().unwrap().prompts.len(), 2);
    let again = task(&facade).await;
    assert_eq!(again.hyperparameters.seed, first.hyperparameters.seed, "every attempt sees the same noise");
}

#[tokio::test]
async fn nothing_is_given_out_to_others_or_in_vain() {
    let facade = Fixture::new().await;
    let cases = [
        ("team/easel-train-nowhere/pod", 503, "NotKnown"),
        ("others/easel-train-run/pod", 503, "NotKnown"),
        ("team/easel-import-run/pod", 403, "WrongIdentity"),
        ("team/easel-dataset-cats/pod", 403, "WrongIdentity"),
    ];
    for (token, code, reason) in cases {
        let got = refusal(&facade, token, CLAIM_TRAINING_PATH, &json!({})).await;
        assert_eq!(got, (code, reason.to_owned()), "{token}");
    }
    let waiting = TRAINING.replace("{name: demo-model}", "{name: waiting}");
    let gone = TRAINING.replace("{name: demo-model}", "{name: gone}");
    let held = TRAINING.replace("method: Lora", "suspend: true\n  method: Lora");
    for (yaml, want) in [
        (waiting, "WaitingForModel"),
        (gone, "WaitingForModel"),
        (condition("Complete"), "TrainingOver"),
        (condition("Failed"), "TrainingOver"),
    ] {
        facade.apply_training(&yaml);
        let got = refusal(&facade, TRAINER, CLAIM_TRAINING_PATH, &json!({})).await;
        assert_eq!(got, (409, want.to_owned()), "{yaml}");
    }
    facade.apply_training(&held);
    task(&facade).await;
}

#[tokio::test]
async fn a_run_goes_on_from_its_newest_whole_checkpoint() {
    let facade = Fixture::listening().await;
    checkpoint(&facade, 5, &[("step-00000005.safetensors", b"old"), ("step-00000005.json", b"{}")]).await;
    checkpoint(
        &facade,
        10,
        &[
            ("step-00000010.json", b"{\"step\":10}"),
            ("losses.csv", b"1,0.5\n"),
            ("step-00000010.safetensors", b"new"),
        ],
    )
    .await;
    // Killed before it said that the files are there: one of them is.
    let begun =
        plan(&facade, 15, &[("step-00000015.safetensors", b"half"), ("step-00000015.json", b"{}")]).await;
    let half = send(&begun.files[0], b"half").await;
    let key = begun.files[0].key.parse().unwrap();
    let parts = [easel_store::objects::Part { number: 1, etag: half.parts[0].etag.clone() }];
    facade.app.objects.complete_upload(&key, &half.upload_id, &parts).await.unwrap();

    let resume = task(&facade).await.resume.unwrap();
    assert_eq!(resume.step, 10);
    let mut found = BTreeMap::new();
    for file in resume.files {
        let body = reqwest::get(&file.url).await.unwrap().bytes().await.unwrap();
        assert_eq!(body.len() as u64, file.size_bytes);
        found.insert(file.name, body);
    }
    assert_eq!(found["step-00000010.safetensors"], "new");
    assert_eq!(found.len(), 3);
    let folder = "training/team/run/train-ui/";
    let left = facade.app.objects.list(&format!("{folder}step-00000005/"), None, 10).await.unwrap();
    assert_eq!(left.objects, [], "one is to be kept");
    let status = status(&facade);
    let stored = status.checkpoint.unwrap();
    assert_eq!((stored.step, stored.key), (10, format!("{folder}step-00000010/step-00000010.json")));
    assert_eq!(status.losses, Some(format!("{folder}step-00000010/losses.csv")));
    facade.end().await;
}

#[tokio::test]
async fn a_job_made_anew_sees_nothing_of_the_old_one() {
    let facade = Fixture::listening().await;
    checkpoint(&facade, 5, &[("step-00000005.json", b"{}")]).await;
    assert!(task(&facade).await.resume.is_some());
    facade.apply_training(&TRAINING.replace("train-uid", "another-uid"));
    assert!(task(&facade).await.resume.is_none());
    facade.end().await;
}

#[tokio::test]
async fn a_checkpoint_stays_in_its_place() {
    let facade = Fixture::new().await;
    let file = |name: &str, size: u64| json!({"name": name, "sizeBytes": size});
    let card = file("a.json", 1);
    let many: Vec<Value> = (0..9).map(|n| file(&format!("{n}.json"), 1)).collect();
    let plans = [
        json!({"step": 1, "files": []}),
        json!({"step": 1, "files": many}),
        json!({"step": 1, "files": [file("a.safetensors", 1)]}),
        json!({"step": 1, "files": [card, card]}),
        json!({"step": 1, "files": [card, file("../../x", 1)]}),
        json!({"step": 1, "files": [card, file("..", 1)]}),
        json!({"step": 1, "files": [card, file("a/b", 1)]}),
        json!({"step": 1, "files": [card, file("", 1)]}),
        json!({"step": 1, "files": [card, file(&"x".repeat(200), 1)]}),
        json!({"step": 1, "files": [card, file("b", 0)]}),
        json!({"step": 1, "files": [card, file("b", u64::MAX)]}),
        json!({"step": 100_000_000, "files": [card]}),
        json!({"step": u64::MAX, "files": [card]}),
        json!({"step": -1, "files": [card]}),
    ];
    for body in plans {
        let got = refusal(&facade, TRAINER, CHECKPOINT_PATH, &body).await;
        assert_eq!(got, (400, "InvalidRequest".to_owned()), "{body}");
    }
    let done = |key: &str| json!({"key": key, "uploadId": "x", "sizeBytes": 1, "parts": []});
    for key in [
        "training/others/run/train-ui/step-00000001/a.json",
        "training/team/run/train-ui/step-00000002/a.json",
        "training/team/run/other-ui/step-00000001/a.json",
        "training/team/run/train-ui/step-00000001/../a.json",
        "models/sha256/a.json",
        "a.json",
        "",
    ] {
        let got =
            refusal(&facade, TRAINER, COMPLETE_CHECKPOINT_PATH, &json!({"step": 1, "files": [done(key)]}))
                .await;
        assert_eq!(got, (400, "InvalidRequest".to_owned()), "{key}");
    }
    let never_sent = done("training/team/run/train-ui/step-00000001/a.json");
    let got =
        refusal(&facade, TRAINER, COMPLETE_CHECKPOINT_PATH, &json!({"step": 1, "files": [never_sent]})).await;
    assert_eq!(got, (400, "InvalidRequest".to_owned()));
    let listed = facade.app.objects.list("training/", None, 10).await.unwrap();
    assert_eq!(listed.objects, []);
    assert_eq!(status(&facade).checkpoint, None);
}

#[tokio::test]
async fn a_checkpoint_of_another_size_does_not_count() {
    let facade = Fixture::listening().await;
    let files: [(&str, &[u8]); 2] = [("a.safetensors", b"1234"), ("a.json", b"{}")];
    let plan = plan(&facade, 5, &files).await;
    let short = send(&plan.files[0], b"123").await;
    let short = StoreDone { size_bytes: 4, ..short };
    let card = send(&plan.files[1], b"{}").await;
    let got =
        refusal(&facade, TRAINER, COMPLETE_CHECKPOINT_PATH, &json!({"step": 5, "files": [card, short]}))
            .await;
    assert_eq!(got, (400, "InvalidRequest".to_owned()));
    assert!(task(&facade).await.resume.is_none(), "the card comes last");
    facade.end().await;
}

#[tokio::test]
async fn parts_of_the_status_do_not_drop_one_another() {
    let facade = Fixture::listening().await;
    let progress = json!({"stage": "Training", "done": 0, "total": 0, "step": 5, "totalSteps": 20, "epoch": 1,
        "loss": 0.25, "milliSecondsPerStep": 900, "etaSeconds": 14});
    for _ in 0..2 {
        let answer = facade.pod(TRAINER, TRAINING_PROGRESS_PATH, &progress).await;
        assert_eq!(answer.status, StatusCode::NO_CONTENT, "{}", answer.body);
    }
    checkpoint(&facade, 5, &[("a.json", b"{}")]).await;
    samples(&facade, 5).await;
    let early = json!({"stage": "Downloading", "done": 1, "total": 2, "step": 0, "totalSteps": 0, "epoch": 0,
        "loss": null, "milliSecondsPerStep": null, "etaSeconds": null});
    let seen = status(&facade);
    assert_eq!((seen.step, seen.total_steps, seen.loss.as_deref()), (Some(5), Some(20), Some("0.25000")));
    assert_eq!((seen.checkpoint.map(|found| found.step), seen.samples.len()), (Some(5), 2));
    facade.pod(TRAINER, TRAINING_PROGRESS_PATH, &early).await;
    let seen = status(&facade);
    assert_eq!((seen.stage.as_deref(), seen.step, seen.eta_seconds), (Some("Downloading"), None, None));
    assert_eq!((seen.checkpoint.map(|found| found.step), seen.samples.len()), (Some(5), 2));

    facade.apply_training(&condition("Complete"));
    let answer = facade.pod(TRAINER, TRAINING_PROGRESS_PATH, &progress).await;
    assert_eq!((answer.status, status(&facade).stage), (StatusCode::NO_CONTENT, None), "it is over");
    facade.end().await;
}

async fn samples(facade: &Fixture, step: u64) {
    let body = json!({"step": step, "count": 2});
    let answer = facade.pod(TRAINER, SAMPLES_PATH, &body).await;
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.body);
    let plan: SamplesPlan = serde_json::from_str(&answer.body).unwrap();
    let http = reqwest::Client::new();
    for slot in plan.pictures {
        let sent = http.put(&slot.url).header("content-type", "image/png").body("png").send().await.unwrap();
        assert_eq!(sent.status(), StatusCode::OK);
    }
    let answer = facade.pod(TRAINER, COMPLETE_SAMPLES_PATH, &body).await;
    assert_eq!(answer.status, StatusCode::NO_CONTENT, "{}", answer.body);
}

#[tokio::test]
async fn the_newest_samples_come_first() {
    let facade = Fixture::listening().await;
    for round in 1..=20 {
        samples(&facade, round * 5).await;
    }
    let shown = status(&facade).samples;
    assert_eq!(shown.len(), 32);
    assert_eq!((shown[0].step, shown[0].prompt.as_str()), (100, "a red circle"));
    assert_eq!((shown[1].step, shown[1].prompt.as_str()), (100, "a blue square"));
    assert_eq!(shown[0].key, "training/team/run/train-ui/samples/step-00000100-0.png");
    assert_eq!(shown[31].step, 25);
    let cases = [
        (SAMPLES_PATH, json!({"step": 5, "count": 3})),
        (SAMPLES_PATH, json!({"step": 5, "count": 0})),
        (SAMPLES_PATH, json!({"step": u64::MAX, "count": 1})),
        (COMPLETE_SAMPLES_PATH, json!({"step": 7, "count": 1})),
    ];
    for (path, body) in cases {
        assert_eq!(
            refusal(&facade, TRAINER, path, &body).await,
            (400, "InvalidRequest".to_owned()),
            "{body}"
        );
    }
    facade.end().await;
}

#[tokio::test]
async fn the_result_becomes_a_model() {
    let facade = Fixture::listening().await;
    let content = b"trained weights";
    let hash = hex::encode(Sha256::digest(content));
    let request = json!({"sha256": hash, "sizeBytes": content.len()});
    let answer = facade.pod(TRAINER, STORE_TRAINED_PATH, &request).await;
    let plan: StorePlan = serde_json::from_str(&answer.body).unwrap();
    assert_eq!(plan.key, format!("models/sha256/{hash}"));
    let done = json!(send(&plan, content).await);
    let answer = facade.pod(TRAINER, COMPLETE_TRAINED_PATH, &done).await;
    assert_eq!(answer.status, StatusCode::NO_CONTENT, "{}", answer.body);
    let answer = facade.pod(TRAINER, STORE_TRAINED_PATH, &request).await;
    assert_eq!(answer.json()["parts"], json!([]), "it is there");

    facade.apply_model(
        "{apiVersion: easel.dev/v1alpha1, kind: Model, metadata: {name: style, namespace: team, uid: style-uid}, \
         spec: {type: Lora, source: {trainingJob: {name: run}}}}",
    );
    let importer = "team/easel-import-style/pod";
    let got = refusal(&facade, importer, CLAIM_IMPORT_PATH, &json!({})).await;
    assert_eq!(got, (409, "WaitingForTraining".to_owned()));
    let result = |key: &str| {
        format!(
            "{TRAINING}status: {{result: {{name: style.safetensors, key: \"{key}\", sha256: \"{hash}\", sizeBytes: 15}}}}\n"
        )
    };
    facade.apply_training(&result("dataset/others/cats/secret.png"));
    let got = refusal(&facade, importer, CLAIM_IMPORT_PATH, &json!({})).await;
    assert_eq!(got, (409, "KeyNotAllowed".to_owned()), "a trainer's word is not trusted");
    facade.apply_training(&result(&plan.key));
    let answer = facade.pod(importer, CLAIM_IMPORT_PATH, &json!({})).await;
    let task: ImportTask = serde_json::from_str(&answer.body).unwrap();
    let [file] = task.files.as_slice() else { panic!("{task:?}") };
    assert_eq!((file.name.as_str(), file.sha256.as_deref()), ("style.safetensors", Some(hash.as_str())));
    let Origin::Stored { url, .. } = &file.origin else { panic!("{file:?}") };
    assert_eq!(reqwest::get(url).await.unwrap().bytes().await.unwrap(), Bytes::from_static(content));
    facade.end().await;
}
