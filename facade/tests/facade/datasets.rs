//! Pictures of Datasets: for checkers and trainers, and through Easel's own API.

use axum::body::Body;
use axum::extract::Request;
use bytes::Bytes;
use easel_protocol::dataset::{DATASET_ITEMS_PATH, DATASET_REPORT_PATH, ItemsPage, ReportPlan};
use http::StatusCode;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::fixture::{Fixture, get};
use crate::objects::{CATS, KEY, MODELS_KEY, OTHER_KEY, TRAINING};

const CHECKER: &str = "team/easel-dataset-cats/pod";
const TRAINER: &str = "team/easel-train-run/pod";

async fn page(facade: &Fixture, token: &str, dataset: &str, offset: u64) -> ItemsPage {
    let answer = facade.pod(token, DATASET_ITEMS_PATH, &json!({"dataset": dataset, "offset": offset})).await;
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.body);
    serde_json::from_str(&answer.body).unwrap()
}

async fn refusal(facade: &Fixture, token: &str, dataset: &str) -> (u16, String) {
    let answer = facade.pod(token, DATASET_ITEMS_PATH, &json!({"dataset": dataset, "offset": 0})).await;
    (answer.status.as_u16(), answer.json()["reason"].as_str().unwrap().to_owned())
}

/// The Dataset `cats` with a manifest of these lines instead of items.
async fn manifest(facade: &Fixture, key: &str, lines: &str) {
    if let Ok(at) = key.parse() {
        facade.app.objects.put(&at, Bytes::from(lines.to_owned()), "application/x-ndjson").await.unwrap();
    }
    let hash = hex::encode(Sha256::digest(lines));
    let items = CATS.find("  items:").unwrap();
    facade.apply_dataset(&format!("{}  manifest: {{key: \"{key}\", sha256: \"{hash}\"}}\n", &CATS[..items]));
}

#[tokio::test]
async fn each_sees_what_it_needs() {
    let facade = Fixture::listening().await;
    let key = "dataset/team/My Cats/a.png".parse().unwrap();
    facade.app.objects.put(&key, Bytes::from_static(b"a cat"), "image/png").await.unwrap();
    let all = page(&facade, CHECKER, "cats", 0).await;
    let names = |page: &ItemsPage| page.items.iter().map(|item| item.name.clone()).collect::<Vec<_>>();
    assert_eq!((names(&all), all.total), (vec!["a.png".into(), "b.png".into(), "c.png".into()], 3));
    assert!(all.items[0].enabled && !all.items[1].enabled);
    assert_eq!(all.items[2].size_bytes, Some(7));
    assert!(all.items[2].url.contains("/import/c.png?"), "{}", all.items[2].url);
    let enabled = page(&facade, TRAINER, "cats", 0).await;
    assert_eq!((names(&enabled), enabled.total), (vec!["a.png".into(), "c.png".into()], 2));
    let picture = reqwest::get(&enabled.items[0].url).await.unwrap().text().await.unwrap();
    assert_eq!((picture.as_str(), enabled.items[0].caption.as_deref()), ("a cat", Some("a cat")));
    assert_eq!(names(&page(&facade, TRAINER, "cats", 1).await), ["c.png"]);
    assert_eq!(page(&facade, TRAINER, "cats", u64::MAX).await.items, []);
    facade.end().await;
}

#[tokio::test]
async fn others_see_nothing() {
    let facade = Fixture::new().await;
    let dogs = CATS.replace("name: cats", "name: dogs").replace("My Cats", "Dogs");
    facade.apply_dataset(&dogs);
    let cases = [
        (CHECKER, "dogs", 403, "OtherDataset"),
        (TRAINER, "dogs", 403, "OtherDataset"),
        (TRAINER, "../cats", 403, "OtherDataset"),
        ("others/easel-train-run/pod", "cats", 503, "NotKnown"),
        ("team/easel-dataset-gone/pod", "gone", 503, "NotKnown"),
        ("team/easel-import-cats/pod", "cats", 403, "WrongIdentity"),
        ("team/easel-endpoint-cats/pod", "cats", 403, "WrongIdentity"),
    ];
    for (token, dataset, status, reason) in cases {
        assert_eq!(refusal(&facade, token, dataset).await, (status, reason.to_owned()), "{token} {dataset}");
    }
    facade.apply_dataset(&CATS.replace("description:", "state: Disabled\n  description:"));
    assert_eq!(refusal(&facade, TRAINER, "cats").await, (409, "WaitingForDataset".to_owned()));
    assert_eq!(page(&facade, CHECKER, "cats", 0).await.total, 3, "it is checked all the same");
    for key in [
        "dataset/others/cats/secret.png",
        "out/1/result/image_0.png",
        "models/sha256/00",
        "training/others/x",
    ] {
        facade.apply_dataset(&CATS.replace("import/c.png", key));
        assert_eq!(refusal(&facade, CHECKER, "cats").await, (409, "KeyNotAllowed".to_owned()), "{key}");
    }
    // A class' pictures are read too.
    facade.apply_dataset(&dogs);
    facade.apply_training(&TRAINING.replace(
        "instancePrompt: photo of sks",
        "instancePrompt: photo of sks, classPrompt: a dog, classDataset: {name: dogs}",
    ));
    assert_eq!(page(&facade, TRAINER, "dogs", 0).await.total, 2);
}

#[tokio::test]
async fn long_sets_come_from_a_manifest_in_pages() {
    let facade = Fixture::new().await;
    let lines: String =
        (0..600).map(|n| format!("{{\"name\":\"{n:04}.png\",\"caption\":\"no {n}\"}}\n")).collect();
    manifest(&facade, "lists/cats.jsonl", &lines).await;
    let (mut offset, mut names) = (0, Vec::new());
    for want in [256, 256, 88, 0] {
        let page = page(&facade, TRAINER, "cats", offset).await;
        assert_eq!((page.items.len(), page.total), (want, 600));
        offset += page.items.len() as u64;
        names.extend(page.items.into_iter().map(|item| item.name));
    }
    assert!(names.is_sorted() && names[599] == "0599.png");
    // What was read is not read again; another hash is another list.
    facade.app.objects.delete(&"lists/cats.jsonl".parse().unwrap()).await.unwrap();
    assert_eq!(page(&facade, TRAINER, "cats", 0).await.total, 600);
    manifest(&facade, "lists/cats.jsonl", "{\"name\":\"one.png\"}\n").await;
    assert_eq!(page(&facade, TRAINER, "cats", 0).await.total, 1);
}

#[tokio::test]
async fn a_hostile_manifest_is_refused_with_its_fault() {
    let facade = Fixture::new().await;
    let many: String = (0..=100_000).map(|n| format!("{{\"name\":\"{n}\"}}\n")).collect();
    let cases = [
        ("lists/a", "{\"name\":\"../x\"}", "ManifestInvalid"),
        ("lists/a", "{\"name\":\"a\",\"key\":\"dataset/others/cats/secret.png\"}", "KeyNotAllowed"),
        ("lists/a", "{\"name\":\"a\",\"key\":\"a/./b\"}", "InvalidKey"),
        ("lists/a", "nonsense", "ManifestInvalid"),
        ("lists/a", many.as_str(), "ManifestInvalid"),
        ("dataset/others/list", "{\"name\":\"a\"}", "KeyNotAllowed"),
        ("out/1/list", "{\"name\":\"a\"}", "KeyNotAllowed"),
    ];
    for (key, lines, want) in cases {
        manifest(&facade, key, lines).await;
        assert_eq!(refusal(&facade, CHECKER, "cats").await, (409, want.to_owned()), "{key} {want}");
    }
    manifest(&facade, "lists/b", "{\"name\":\"a\"}").await;
    let at = "lists/b".parse().unwrap();
    facade.app.objects.put(&at, Bytes::from_static(b"{\"name\":\"b\"}"), "x/y").await.unwrap();
    assert_eq!(refusal(&facade, CHECKER, "cats").await, (409, "ManifestChanged".to_owned()));
    facade.app.objects.delete(&at).await.unwrap();
    assert_eq!(refusal(&facade, CHECKER, "cats").await, (409, "ManifestMissing".to_owned()));
    facade.app.objects.put(&at, Bytes::from(vec![b' '; (64 << 20) + 1]), "x/y").await.unwrap();
    assert_eq!(refusal(&facade, CHECKER, "cats").await, (409, "ManifestTooLarge".to_owned()));
}

#[tokio::test]
async fn a_report_goes_beside_the_pictures() {
    let facade = Fixture::listening().await;
    let answer = facade.pod(CHECKER, DATASET_REPORT_PATH, &json!({"sizeBytes": 3})).await;
    let plan: ReportPlan = serde_json::from_str(&answer.body).unwrap();
    assert_eq!(plan.key, "dataset/team/My Cats.report.jsonl");
    let sent =
        reqwest::Client::new().put(&plan.url).header("content-type", "application/x-ndjson").body("{}\n");
    assert_eq!(sent.send().await.unwrap().status(), StatusCode::OK);
    let answer = facade.pod(CHECKER, DATASET_REPORT_PATH, &json!({"sizeBytes": 1_u64 << 40})).await;
    assert_eq!(answer.status, StatusCode::BAD_REQUEST);
    let answer = facade.pod(TRAINER, DATASET_REPORT_PATH, &json!({"sizeBytes": 3})).await;
    assert_eq!(answer.status, StatusCode::FORBIDDEN);
    facade.end().await;
}

fn put(path: &str, key: &str, body: &'static str) -> Request {
    let request = Request::put(path).header("x-api-key", key).header("content-length", body.len());
    request.body(Body::from(body)).unwrap()
}

#[tokio::test]
async fn pictures_are_sent_and_looked_at_through_the_own_api() {
    let facade = Fixture::listening().await;
    let answer = facade.public(put("/easel/v1/datasets/cats/items/a.png", KEY, "a cat")).await;
    assert_eq!(answer.status, StatusCode::NO_CONTENT, "{}", answer.body);
    let http = reqwest::Client::new();
    let asked = json!({"files": [{"name": "b.png"}]});
    let url = format!("{}/easel/v1/datasets/My%20Cats/uploads", facade.public);
    let plan: Value =
        http.post(url).header("x-api-key", KEY).json(&asked).send().await.unwrap().json().await.unwrap();
    let sent = http.put(plan["files"][0]["url"].as_str().unwrap()).body("b cat").send().await.unwrap();
    assert_eq!(sent.status(), StatusCode::OK);
    let url = format!("{}/easel/v1/datasets/cats?limit=2", facade.public);
    let seen: Value = http.get(url).header("x-api-key", KEY).send().await.unwrap().json().await.unwrap();
    assert_eq!(
        (&seen["dataset_name"], &seen["total"], &seen["state"]),
        (&json!("My Cats"), &json!(3), &json!("Enabled"))
    );
    for (item, want) in [(0, "a cat"), (1, "b cat")] {
        let preview = seen["items"][item]["preview_url"].as_str().unwrap();
        assert_eq!(reqwest::get(preview).await.unwrap().text().await.unwrap(), want);
    }
    facade.end().await;
}

#[tokio::test]
async fn only_listed_pictures_of_the_own_folder_are_taken() {
    let facade = Fixture::with(&["--max-upload-bytes", "10"], None).await;
    let cases = [
        ("/easel/v1/datasets/gone/items/a.png", "x", 404, "NotFound"),
        ("/easel/v1/datasets/cats/items/new.png", "x", 400, "NotListed"),
        ("/easel/v1/datasets/cats/items/..%2f..%2fx", "x", 400, "NotListed"),
        ("/easel/v1/datasets/cats/items/c.png", "x", 400, "InvalidUpload"),
        ("/easel/v1/datasets/cats/items/a.png", "", 400, "InvalidRequest"),
        ("/easel/v1/datasets/cats/items/a.png", "eleven byte", 413, "TooLarge"),
    ];
    for (path, body, status, want) in cases {
        let answer = facade.public(put(path, KEY, body)).await;
        let got = (answer.status.as_u16(), answer.json()["reason"].as_str().unwrap().to_owned());
        assert_eq!(got, (status, want.to_owned()), "{path}");
    }
    for key in [MODELS_KEY, OTHER_KEY] {
        let answer = facade.public(put("/easel/v1/datasets/cats/items/a.png", key, "x")).await;
        assert_eq!(answer.status, StatusCode::FORBIDDEN);
    }
    for files in [json!([]), json!([{"name": "a.png"}, {"name": "x"}])] {
        let body = json!({"files": files});
        let answer = facade.post("/easel/v1/datasets/cats/uploads", &body).await;
        assert_eq!(answer.status, StatusCode::BAD_REQUEST, "{body}");
    }
}

#[tokio::test]
async fn a_training_shows_how_far_it_is() {
    let facade = Fixture::listening().await;
    let folder = "training/team/run/train-ui";
    let losses = format!("{folder}/step-00000005/losses.csv");
    facade
        .app
        .objects
        .put(&losses.parse().unwrap(), Bytes::from_static(b"1,0.5\n"), "text/csv")
        .await
        .unwrap();
    facade.apply_training(&format!(
        "{TRAINING}status: {{stage: Training, step: 5, totalSteps: 20, loss: \"0.5\", etaSeconds: 30, losses: {losses}, \
         samples: [{{step: 5, prompt: a red circle, key: {folder}/samples/step-00000005-0.png}}, \
         {{step: 5, prompt: theirs, key: dataset/others/cats/secret.png}}]}}\n"
    ));
    let url = format!("{}/easel/v1/trainings/run", facade.public);
    let http = reqwest::Client::new();
    let seen: Value = http.get(url).header("x-api-key", KEY).send().await.unwrap().json().await.unwrap();
    assert_eq!((&seen["state"], &seen["step"], &seen["loss"]), (&json!("Running"), &json!(5), &json!("0.5")));
    assert_eq!((&seen["eta_seconds"], &seen["model"]), (&json!(30), &json!("style")));
    let csv = reqwest::get(seen["losses_url"].as_str().unwrap()).await.unwrap().text().await.unwrap();
    assert_eq!(csv, "1,0.5\n");
    let samples = seen["samples"].as_array().unwrap();
    assert_eq!(samples.len(), 1, "only keys of this run are given out");
    assert_eq!(facade.public(get("/easel/v1/trainings/gone", KEY)).await.status, StatusCode::NOT_FOUND);
    assert_eq!(facade.public(get("/easel/v1/trainings/run", OTHER_KEY)).await.status, StatusCode::FORBIDDEN);
    facade.end().await;
}
