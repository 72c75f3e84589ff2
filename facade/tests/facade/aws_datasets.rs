//! Data sets in the dialect of the AWS extension (specs/aws-extension.md §4.4).

use easel_crds::Dataset;
use easel_crds::dataset::DatasetState;
use http::StatusCode;
use serde_json::{Value, json};

use crate::fixture::{Answer, Fixture, get, post};
use crate::objects::{CATS, KEY, MODELS_KEY, OTHER_KEY};

async fn put(facade: &Fixture, path: &str, body: &Value) -> Answer {
    let (mut parts, body) = post(path, KEY, body.to_string()).into_parts();
    parts.method = http::Method::PUT;
    facade.public(axum::extract::Request::from_parts(parts, body)).await
}

fn stored(facade: &Fixture, name: &str) -> Dataset {
    let datasets = facade.cluster.datasets.lock().unwrap();
    let own = |dataset: &&Dataset| {
        dataset.metadata.namespace.as_deref() == Some("team")
            && dataset.spec.dataset_name.as_deref() == Some(name)
    };
    datasets.iter().find(own).unwrap_or_else(|| panic!("no Dataset {name}")).clone()
}

fn named(seen: &Value, name: &str) -> Value {
    let datasets = seen["datasets"].as_array().unwrap();
    datasets.iter().find(|dataset| dataset["datasetName"] == name).cloned().unwrap_or(Value::Null)
}

#[tokio::test]
async fn a_data_set_from_the_first_call_to_the_preview() {
    let facade = Fixture::listening().await;
    // The document's own body, and what the UI sends.
    let body = json!({
        "dataset_name": "test_dataset", "params": {"description": "of a test", "test_params": "x"},
        "content": [
            {"filename": "/path/to/a/file.png", "name": "another_name", "type": "png"},
            {"filename": "b.jpg", "name": "b.jpg", "type": "image", "params": {"caption": "a bee"}},
        ],
    });
    let http = reqwest::Client::new();
    let made = http.post(format!("{}/prod//dataset", facade.public)).header("x-api-key", KEY).json(&body);
    let made: Value = made.send().await.unwrap().json().await.unwrap();
    assert_eq!((&made["statusCode"], &made["datasetName"]), (&json!(200), &json!("test_dataset")));
    for (file, content) in [("/path/to/a/file.png", "first"), ("b.jpg", "second")] {
        let url = made["s3PresignUrl"][file].as_str().unwrap();
        assert!(url.contains("/dataset/team/test_dataset/"), "{url}");
        assert_eq!(http.put(url).body(content).send().await.unwrap().status(), StatusCode::OK);
    }
    facade.sync();
    let object = stored(&facade, "test_dataset");
    assert_eq!((object.spec.state, object.spec.items.len()), (DatasetState::Disabled, 2));
    assert_eq!(object.spec.items[1].caption.as_deref(), Some("a bee"));
    let seen = named(&facade.get("/datasets").await.json(), "test_dataset");
    assert_eq!((&seen["status"], &seen["description"]), (&json!("Initialed"), &json!("of a test")));
    assert_eq!((&seen["test_params"], &seen["timestamp"]), (&json!("x"), &json!(1_767_571_200.0)));
    assert_eq!(seen["s3"], "s3://easel/dataset/team/test_dataset");

    let answer =
        put(&facade, "/dataset", &json!({"dataset_name": "test_dataset", "status": "Enabled"})).await;
    let want = json!({"statusCode": 200, "datasetName": "test_dataset", "status": "Enabled"});
    assert_eq!((answer.status, answer.json()), (StatusCode::OK, want));
    facade.sync();
    assert_eq!(stored(&facade, "test_dataset").spec.state, DatasetState::Enabled);
    for path in ["/dataset/test_dataset/data", "/test_dataset/data"] {
        let url = format!("{}{path}", facade.public);
        let data: Value = http.get(url).header("x-api-key", KEY).send().await.unwrap().json().await.unwrap();
        assert_eq!((&data["statusCode"], &data["dataset_name"]), (&json!(200), &json!("test_dataset")));
        let item = &data["data"][0];
        assert_eq!((&item["name"], &item["dataStatus"]), (&json!("another_name"), &json!("Enabled")));
        assert_eq!((&item["type"], &item["key"]), (&json!("image"), &json!("1767571200_another_name")));
        let preview = item["preview_url"].as_str().unwrap();
        assert_eq!(reqwest::get(preview).await.unwrap().text().await.unwrap(), "first");
    }
    facade.end().await;
}

#[tokio::test]
async fn posting_again_adds_pictures() {
    let facade = Fixture::new().await;
    let body = |file: &str| json!({"dataset_name": "Été 2026", "content": [{"filename": file, "name": file, "type": "png"}]});
    for file in ["a.png", "b.png", "a.png"] {
        let answer = facade.post("/dataset", &body(file)).await;
        assert_eq!(answer.status, StatusCode::OK, "{}", answer.body);
        put(&facade, "/dataset", &json!({"dataset_name": "Été 2026", "status": "Enabled"})).await;
    }
    let names: Vec<String> =
        stored(&facade, "Été 2026").spec.items.into_iter().map(|item| item.name).collect();
    assert_eq!(names, ["b.png", "a.png"]);
    // One that a person has made keeps its object, and its pictures where they are.
    let answer = facade
        .post("/dataset", &json!({"dataset_name": "My Cats", "content": [{"filename": "d.png"}]}))
        .await;
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.body);
    let cats = stored(&facade, "My Cats");
    assert_eq!((cats.metadata.name.as_deref(), cats.spec.items.len()), (Some("cats"), 4));
    let by_object =
        facade.post("/dataset", &json!({"dataset_name": "cats", "content": [{"filename": "e.png"}]})).await;
    let url = by_object.json()["s3PresignUrl"]["e.png"].as_str().unwrap().to_owned();
    assert!(url.contains("/dataset/team/My%20Cats/e.png?"), "{url}");
}

#[tokio::test]
async fn what_cannot_be_taken_is_named() {
    let facade = Fixture::new().await;
    let file = |name: &str, kind: &str| json!({"filename": name, "name": name, "type": kind});
    let many: Vec<Value> = (0..513).map(|n| file(&format!("{n}.png"), "png")).collect();
    let set = |content: Value| json!({"dataset_name": "x", "content": content});
    let cases = [
        (json!({}), "dataset_name"),
        (json!({"dataset_name": "../x"}), "dataset_name"),
        (json!({"dataset_name": "a/b"}), "dataset_name"),
        (json!({"dataset_name": "x".repeat(129)}), "dataset_name"),
        (set(json!(many)), "content: 513 files"),
        (set(json!([file("a.tar", "tar")])), "content[0].type"),
        (set(json!([file("..", "png")])), "content[0].name"),
        (set(json!([file("a\u{0}.png", "png")])), "content[0].name"),
        (set(json!([{"type": "png"}])), "content[0].filename"),
        (set(json!([file("x/a.png", "png"), file("y/a.png", "png")])), "content[1]: two files"),
        (
            set(json!([{"filename": "a.png", "params": {"caption": "x".repeat(1025)}}])),
            "content[0].params.caption",
        ),
    ];
    for (body, want) in cases {
        let answer = facade.post("/dataset", &body).await;
        let error = answer.json()["error"].as_str().unwrap().to_owned();
        assert_eq!(
            (answer.status, answer.json()["statusCode"].clone()),
            (StatusCode::BAD_REQUEST, json!(400))
        );
        assert!(error.starts_with(want), "{want}: {error}");
    }
    let many: Vec<Value> = (0..510).map(|n| file(&format!("{n}.png"), "png")).collect();
    let answer = facade.post("/dataset", &json!({"dataset_name": "My Cats", "content": many})).await;
    assert_eq!(answer.status, StatusCode::BAD_REQUEST);
    assert!(answer.body.contains("513 pictures; 512 are allowed"), "{}", answer.body);
    let answer = put(&facade, "/dataset", &json!({"dataset_name": "gone", "status": "Enabled"})).await;
    assert_eq!((answer.status, answer.json()["errorMsg"].is_string()), (StatusCode::NOT_FOUND, true));
    let answer = put(&facade, "/dataset", &json!({"dataset_name": "My Cats", "status": "Lost"})).await;
    assert_eq!(answer.status, StatusCode::BAD_REQUEST);
    let answer = facade.get("/dataset/gone/data").await;
    assert_eq!(answer.json(), json!({"statusCode": 200, "dataset_name": "gone", "data": []}));
}

#[tokio::test]
async fn lists_show_what_kubectl_made_and_nothing_of_others() {
    let facade = Fixture::new().await;
    let seen = facade.get("/prod/datasets").await.json();
    assert_eq!(seen["datasets"].as_array().unwrap().len(), 1);
    assert_eq!(named(&seen, "My Cats")["status"], "Enabled");
    facade.apply_dataset(&CATS.replace("description:", "state: Disabled\n  description:"));
    assert_eq!(named(&facade.get("/datasets").await.json(), "My Cats")["status"], "Disabled");
    let filtered = facade.get("/datasets?dataset_status=Enabled&dataset_status=Initialed").await.json();
    assert_eq!(filtered["datasets"], json!([]));
    for key in [OTHER_KEY, MODELS_KEY] {
        assert_eq!(facade.public(get("/datasets", key)).await.status, StatusCode::FORBIDDEN);
    }
    let data = facade.get("/dataset/My%20Cats/data").await.json();
    let states: Vec<&str> =
        data["data"].as_array().unwrap().iter().map(|i| i["dataStatus"].as_str().unwrap()).collect();
    assert_eq!(states, ["Disabled"; 3]);
}
