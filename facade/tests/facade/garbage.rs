//! Deleting the bytes of Models that are gone, in the real embedded object store.

use bytes::Bytes;
use easel_facade::collector::{Collector, Kind, Orphan};
use easel_facade::tasks::sweep_garbage;
use easel_protocol::import::STORE_IMPORT_PATH;
use easel_store::objects::ObjectKey;
use http::StatusCode;
use jiff::{SignedDuration, Timestamp};
use serde_json::json;

use crate::fixture::Fixture;
use crate::objects::{DEMO_MODEL, HTTP_MODEL, OTHER_MODEL, SHA, TRAINING, WAITING_MODEL};

const ORPHAN: &str = "models/sha256/dddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddd";
const DELETE: [&str; 2] = ["--gc-mode", "delete"];

fn key(text: &str) -> ObjectKey {
    text.parse().unwrap()
}

fn shared() -> String {
    format!("models/sha256/{SHA}")
}

async fn put(facade: &Fixture, keys: &[&str]) {
    for text in keys {
        facade.app.objects.put(&key(text), Bytes::from_static(b"weights"), "x/y").await.unwrap();
    }
}

async fn is_there(facade: &Fixture, text: &str) -> bool {
    facade.app.objects.head(&key(text)).await.unwrap().is_some()
}

/// A time at which everything that is stored now has passed the grace period.
fn later() -> Timestamp {
    Timestamp::now() + SignedDuration::from_hours(25)
}

async fn sweep(facade: &Fixture, now: Timestamp) {
    sweep_garbage(&facade.app, &mut Some(4), now).await;
}

fn metric(facade: &Fixture, line: &str) -> bool {
    facade.app.metrics.render().contains(line)
}

#[tokio::test]
async fn what_no_model_names_goes_and_all_else_stays() {
    let facade = Fixture::with(&DELETE, None).await;
    let stays = [
        shared(),
        "models/team/waiting/upload/a.safetensors".into(),
        "models/team/demo-model/upload/weights.safetensors".into(),
        "models/team/gone/notes.txt".into(),
        "import/gone.safetensors".into(),
        "out/1/result/image_0.png".into(),
    ];
    let goes = [
        ORPHAN,
        "models/team/gone/upload/a.safetensors",
        "models/team/waiting/upload/undeclared.safetensors",
        "models/others/waiting/upload/a.safetensors",
        "models/claims/eeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeee",
    ];
    put(&facade, &stays.each_ref().map(String::as_str)).await;
    put(&facade, &goes).await;
    sweep(&facade, Timestamp::now()).await;
    for text in goes {
        assert!(is_there(&facade, text).await, "{text} is young");
    }
    sweep(&facade, later()).await;
    for text in goes {
        assert!(!is_there(&facade, text).await, "{text}");
    }
    for text in &stays {
        assert!(is_there(&facade, text).await, "{text}");
    }
    for line in [
        r#"easel_gc_deleted_total{kind="weights"} 1"#,
        r#"easel_gc_deleted_total{kind="upload"} 3"#,
        r#"easel_gc_deleted_bytes_total{kind="weights"} 7"#,
        r#"easel_gc_orphans{kind="weights"} 0"#,
        r#"easel_gc_sweeps_total{outcome="done"} 2"#,
    ] {
        assert!(metric(&facade, line), "{line}\n{}", facade.app.metrics.render());
    }
}

#[tokio::test]
async fn training_and_pictures_go_with_their_objects() {
    let facade = Fixture::with(&DELETE, None).await;
    let run = [
        "training/team/run/train-ui/step-00000005/a.json",
        "training/team/run/train-ui/samples/step-00000005-0.png",
    ];
    let set = [
        "dataset/team/My Cats/a.png",
        "dataset/team/My Cats/coming.png",
        "dataset/team/My Cats.report.jsonl",
    ];
    let gone = [
        "training/team/run/older-ui/step-00000005/a.json",
        "training/team/gone/01234567/step-00000005/a.json",
        "dataset/team/gone/a.png",
        "dataset/others/My Cats/a.png",
    ];
    let kept = ["dataset/team/list.jsonl", "training/notes.txt", "dataset/others/cats/secret.png"];
    for keys in [&run[..], &set[..], &gone[..], &kept[..]] {
        put(&facade, keys).await;
    }
    sweep(&facade, later()).await;
    for text in gone {
        assert!(!is_there(&facade, text).await, "{text}");
    }
    for text in run.iter().chain(&set).chain(&kept) {
        assert!(is_there(&facade, text).await, "{text}");
    }
    for line in
        [r#"easel_gc_deleted_total{kind="training"} 2"#, r#"easel_gc_deleted_total{kind="picture"} 2"#]
    {
        assert!(metric(&facade, line), "{line}");
    }
    // Gone from the API server, but not from the watch; then from both.
    facade.cluster.trainings.lock().unwrap().clear();
    sweep(&facade, later()).await;
    assert!(is_there(&facade, run[0]).await, "the watch knows more");
    facade.sync();
    sweep(&facade, later()).await;
    for text in run {
        assert!(!is_there(&facade, text).await, "{text}");
    }
    let deleted = facade.cluster.datasets.lock().unwrap().remove(0);
    facade.sync();
    facade.apply_dataset(&format!(
        "{{apiVersion: easel.dev/v1alpha1, kind: Dataset, metadata: {{name: long, namespace: team}}, \
         spec: {{manifest: {{key: lists/a, sha256: \"{SHA}\"}}}}}}"
    ));
    sweep(&facade, later()).await;
    assert!(is_there(&facade, set[0]).await, "a manifest of the namespace may list it");
    facade
        .cluster
        .datasets
        .lock()
        .unwrap()
        .retain(|dataset| dataset.metadata.name.as_deref() != Some("long"));
    facade.sync();
    assert_eq!(deleted.metadata.name.as_deref(), Some("cats"));
    sweep(&facade, later()).await;
    for text in set {
        assert!(!is_there(&facade, text).await, "{text}");
    }
    assert!(is_there(&facade, "dataset/others/cats/secret.png").await);
}

#[tokio::test]
async fn the_result_of_a_training_is_kept_before_its_model_is() {
    let facade = Fixture::with(&DELETE, None).await;
    put(&facade, &[ORPHAN]).await;
    let hash = ORPHAN.rsplit('/').next().unwrap();
    facade.apply_training(&format!(
        "{TRAINING}status: {{result: {{name: a, key: {ORPHAN}, sha256: {hash}, sizeBytes: 7}}}}\n"
    ));
    sweep(&facade, later()).await;
    assert!(is_there(&facade, ORPHAN).await);
    facade.apply_training(TRAINING);
    sweep(&facade, later()).await;
    assert!(!is_there(&facade, ORPHAN).await);
}

#[tokio::test]
async fn a_dry_run_counts_and_deletes_nothing() {
    let facade = Fixture::with(&["--gc-mode", "dry-run"], None).await;
    put(&facade, &[ORPHAN]).await;
    sweep(&facade, later()).await;
    assert!(is_there(&facade, ORPHAN).await);
    for line in [r#"easel_gc_orphans{kind="weights"} 1"#, r#"easel_gc_orphan_bytes{kind="weights"} 7"#] {
        assert!(metric(&facade, line), "{line}");
    }
    assert!(!metric(&facade, "easel_gc_deleted_total{"));
}

#[tokio::test]
async fn bytes_live_as_long_as_one_of_their_models() {
    let facade = Fixture::with(&DELETE, None).await;
    let twin = DEMO_MODEL.replace("demo-model", "twin").replace("namespace: team", "namespace: others");
    facade.apply_model(&twin);
    put(&facade, &[&shared()]).await;
    facade.delete_model(DEMO_MODEL);
    sweep(&facade, later()).await;
    assert!(is_there(&facade, &shared()).await, "another namespace has a Model of the same bytes");
    facade.delete_model(&twin);
    sweep(&facade, later()).await;
    assert!(!is_there(&facade, &shared()).await);
}

#[tokio::test]
async fn what_either_the_watch_or_the_api_server_knows_is_kept() {
    let facade = Fixture::with(&DELETE, None).await;
    let new = DEMO_MODEL.replace("demo-model", "new").replace(SHA, &"d".repeat(64));
    put(&facade, &[ORPHAN]).await;
    facade.store_model(&new);
    sweep(&facade, later()).await;
    assert!(is_there(&facade, ORPHAN).await, "the watch lags");
    facade.apply_model(&new);
    facade
        .cluster
        .models
        .lock()
        .unwrap()
        .as_mut()
        .unwrap()
        .retain(|m| m.metadata.name.as_deref() != Some("new"));
    sweep(&facade, later()).await;
    assert!(is_there(&facade, ORPHAN).await, "the watch knows more");
    facade.delete_model(&new);
    sweep(&facade, later()).await;
    assert!(!is_there(&facade, ORPHAN).await);
}

#[tokio::test]
async fn an_import_that_found_the_bytes_keeps_them() {
    let facade = Fixture::with(&DELETE, None).await;
    let hash = ORPHAN.rsplit('/').next().unwrap();
    put(&facade, &[ORPHAN]).await;
    let request = json!({"sha256": hash, "sizeBytes": 7});
    let answer = facade.pod("team/easel-import-web/pod", STORE_IMPORT_PATH, &request).await;
    assert_eq!((answer.status, answer.json()["parts"].clone()), (StatusCode::OK, json!([])));
    assert!(is_there(&facade, &format!("models/claims/{hash}")).await);
    facade.make_older("sha256", hash);
    sweep(&facade, Timestamp::now()).await;
    assert!(is_there(&facade, ORPHAN).await);
    let unclaimed = format!("models/sha256/{}", "f".repeat(64));
    put(&facade, &[&unclaimed]).await;
    facade.make_older("sha256", &"f".repeat(64));
    sweep(&facade, Timestamp::now()).await;
    assert!(!is_there(&facade, &unclaimed).await, "it is the claim that keeps them");
    sweep(&facade, later()).await;
    assert!(!is_there(&facade, ORPHAN).await, "a claim ends");
}

#[tokio::test]
async fn a_job_that_is_not_finished_keeps_its_checkpoint() {
    let facade = Fixture::with(&DELETE, None).await;
    let body = json!({
        "task_type": "txt2img", "sagemaker_endpoint_name": "demo",
        "models": {"Stable-diffusion": ["easel-demo.safetensors"]},
    });
    assert_eq!(facade.post("/inference-api/inference", &body).await.status, StatusCode::OK);
    put(&facade, &[&shared(), ORPHAN]).await;
    facade.delete_model(DEMO_MODEL);
    sweep(&facade, later()).await;
    assert!(is_there(&facade, &shared()).await);
    assert!(!is_there(&facade, ORPHAN).await);
}

#[tokio::test]
async fn nothing_is_deleted_while_the_models_cannot_be_seen() {
    let facade = Fixture::with(&DELETE, None).await;
    put(&facade, &[ORPHAN]).await;
    let models = facade.cluster.models.lock().unwrap().take();
    sweep(&facade, later()).await;
    assert!(metric(&facade, r#"easel_gc_sweeps_total{outcome="ApiServerFailed"} 1"#));
    assert!(is_there(&facade, ORPHAN).await);
    *facade.cluster.models.lock().unwrap() = models;

    for model in [DEMO_MODEL, OTHER_MODEL, WAITING_MODEL, HTTP_MODEL] {
        facade.delete_model(model);
    }
    for mut before in [None, Some(4)] {
        sweep_garbage(&facade.app, &mut before, later()).await;
        assert!(is_there(&facade, ORPHAN).await, "all Models are gone at once");
        assert_eq!(before, Some(0), "the next look knows");
    }
    assert!(metric(&facade, r#"easel_gc_sweeps_total{outcome="NoModels"} 2"#));
    sweep_garbage(&facade.app, &mut Some(0), later()).await;
    assert!(!is_there(&facade, ORPHAN).await, "and stay gone");
}

#[tokio::test]
async fn where_some_namespaces_are_watched_others_are_left_alone() {
    let watch = ["--watch-namespaces", "team"];
    for (sole, goes) in [("false", false), ("true", true)] {
        let flags = [&watch[..], &DELETE[..], &["--gc-sole-user", sole]].concat();
        let facade = Fixture::with(&flags, None).await;
        let (theirs, ours) = ("models/others/m/upload/a", "models/team/gone/upload/a");
        put(&facade, &[ORPHAN, theirs, ours]).await;
        sweep(&facade, later()).await;
        assert_eq!(is_there(&facade, ORPHAN).await, !goes, "shared weights, sole user {sole}");
        assert!(is_there(&facade, theirs).await);
        assert!(!is_there(&facade, ours).await);
    }
}

#[tokio::test]
async fn more_objects_than_a_page_are_all_looked_at() {
    let facade = Fixture::with(&DELETE, None).await;
    let keys: Vec<String> = (0..1100).map(|n| format!("models/team/gone/upload/f{n}")).collect();
    put(&facade, &keys.iter().map(String::as_str).collect::<Vec<_>>()).await;
    sweep(&facade, later()).await;
    assert!(metric(&facade, r#"easel_gc_deleted_total{kind="upload"} 1100"#));
    assert_eq!(facade.app.objects.list("models/", None, 10).await.unwrap().objects, []);
}

#[tokio::test]
async fn a_process_beside_lists_and_deletes_over_the_public_port() {
    let facade = Fixture::listening().await;
    put(&facade, &[ORPHAN, &shared()]).await;
    let (beside, namespaces) = (facade.beside(), facade.app.config.namespaces());
    let collector = Collector {
        objects: &beside,
        jobs: &facade.app.jobs,
        cluster: &*facade.app.cluster,
        directory: None,
        namespaces: &namespaces,
        config: &facade.app.config.gc,
    };
    for delete in [false, true] {
        let mut seen = Vec::new();
        let mut show = |orphan: &Orphan| seen.push((orphan.key.clone(), orphan.size, orphan.deleted));
        let figures = collector.sweep(delete, &mut None, later(), &mut show).await.unwrap();
        assert_eq!(seen, [(ORPHAN.to_owned(), 7, delete)]);
        let sum = if delete { figures.deleted } else { figures.left };
        assert_eq!(sum, [(Kind::Weights, (1, 7))].into());
        assert_eq!(is_there(&facade, ORPHAN).await, !delete);
    }
    assert!(is_there(&facade, &shared()).await);
    facade.end().await;
}
