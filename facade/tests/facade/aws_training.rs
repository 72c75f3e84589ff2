//! Training in the dialect of the AWS extension (specs/aws-extension.md §4.3, §8).

use easel_crds::dataset::DatasetState;
use easel_crds::training_job::TrainingMethod;
use easel_crds::{Dataset, TrainingJob};
use http::StatusCode;
use serde_json::{Value, json};

use crate::fixture::{Answer, Fixture, get, post};
use crate::objects::{KEY, OTHER_KEY, TRAINING};

async fn put(facade: &Fixture, body: &Value) -> Answer {
    let (mut parts, body) = post("/train", KEY, body.to_string()).into_parts();
    parts.method = http::Method::PUT;
    facade.public(axum::extract::Request::from_parts(parts, body)).await
}

/// The TrainingJob of an answer.
fn stored(facade: &Fixture, answer: &Value) -> TrainingJob {
    let trainings = facade.cluster.trainings.lock().unwrap();
    let own = |job: &&TrainingJob| job.metadata.uid.as_deref() == answer["job"]["id"].as_str();
    trainings.iter().find(own).unwrap_or_else(|| panic!("{answer}")).clone()
}

fn dataset(facade: &Fixture, name: &str) -> Dataset {
    let datasets = facade.cluster.datasets.lock().unwrap();
    datasets.iter().find(|dataset| dataset.metadata.name.as_deref() == Some(name)).unwrap().clone()
}

fn lora() -> Value {
    json!({
        "train_type": "Lora", "model_id": "model-uid",
        "params": {
            "training_params": {"model_name": "circles", "data_tar_list": ["My Cats"], "training_instance_type": "ml.g4dn.2xlarge"},
            "config_params": {
                "instance_prompt": "photo of sks", "max_train_steps": 30, "lora_unet_rank": 16, "seed": 7,
                "save_sample_prompt": "photo of sks", "sample_every_steps": 10, "half_model": true,
            },
        },
    })
}

#[tokio::test]
async fn a_training_from_the_first_call_to_its_begin() {
    let facade = Fixture::new().await;
    for path in ["/train", "/prod/train-api/train"] {
        let answer = facade.post(path, &lora()).await;
        assert_eq!(answer.status, StatusCode::OK, "{}", answer.body);
        let made = answer.json();
        assert_eq!((&made["statusCode"], &made["s3PresignUrl"]), (&json!(200), &Value::Null));
        assert_eq!((&made["job"]["status"], &made["job"]["trainType"]), (&json!("Initial"), &json!("Lora")));
        assert_eq!(made["job"]["params"], lora()["params"]);
        assert_eq!(made["warnings"], json!(["params.config_params.half_model has no effect here"]));
        let job = stored(&facade, &made);
        assert_eq!((job.spec.method, job.spec.suspend), (TrainingMethod::Lora, true));
        assert_eq!(job.spec.base_model.name, "demo-model");
        assert_eq!(job.spec.concepts[0].dataset.name, "cats");
        assert_eq!((job.spec.hyperparameters.steps, job.spec.hyperparameters.seed), (Some(30), Some(7)));
        assert_eq!(job.spec.lora.as_ref().unwrap().rank, 16);
        assert_eq!(job.spec.instance_type.as_deref(), Some("ml.g4dn.2xlarge"));
        assert_eq!(job.spec.output.display_name.as_deref(), Some("circles.safetensors"));
        assert_eq!(job.spec.samples.as_ref().unwrap().every_steps, 10);

        // The watch has not seen it yet.
        let body = json!({"train_job_id": made["job"]["id"], "status": "Training"});
        for _ in 0..2 {
            let answer = put(&facade, &body).await;
            assert_eq!(answer.status, StatusCode::OK, "{}", answer.body);
            assert_eq!(answer.json()["job"]["status"], "Training");
            assert_eq!(answer.json()["job"]["created"], 1_767_571_200.0);
            assert_eq!(answer.json()["job"]["params"], lora()["params"]);
        }
        assert!(!stored(&facade, &made).spec.suspend);
    }
}

#[tokio::test]
async fn pictures_that_come_with_the_call_become_a_data_set() {
    let facade = Fixture::listening().await;
    let body = json!({
        "train_type": "Stable-diffusion", "model_id": "easel-demo.safetensors",
        "params": {"train_params": {}, "config_params": {"concepts_list": [
            {"instance_prompt": "sks dog", "class_prompt": "a dog", "num_class_images_per": 3}]}},
        "filenames": ["one.png", "dir/two.jpg", "training_config.json"],
    });
    let http = reqwest::Client::new();
    let made = http.post(format!("{}/train", facade.public)).header("x-api-key", KEY).json(&body);
    let made: Value = made.send().await.unwrap().json().await.unwrap();
    let job = stored(&facade, &made);
    assert_eq!(job.spec.method, TrainingMethod::DreamBooth);
    let data = job.spec.concepts[0].dataset.name.clone();
    assert_eq!(job.spec.concepts[0].class_pictures_per_picture, 3);
    assert_eq!(made["job"]["input_location"], format!("s3://easel/dataset/team/{data}"));
    assert_eq!(made["warnings"], json!(["filenames: nothing reads training_config.json"]));
    for file in ["one.png", "dir/two.jpg", "training_config.json"] {
        let url = made["s3PresignUrl"][file].as_str().unwrap();
        assert_eq!(http.put(url).body("x").send().await.unwrap().status(), StatusCode::OK, "{url}");
    }
    let set = dataset(&facade, &data);
    let names: Vec<&str> = set.spec.items.iter().map(|item| item.name.as_str()).collect();
    assert_eq!((names, set.spec.state), (vec!["one.png", "two.jpg"], DatasetState::Disabled));
    assert_eq!(set.metadata.owner_references.as_ref().unwrap()[0].uid, job.metadata.uid.clone().unwrap());
    for item in ["one.png", "two.jpg"] {
        let key = format!("dataset/team/{data}/{item}").parse().unwrap();
        assert!(facade.app.objects.head(&key).await.unwrap().is_some(), "{item}");
    }
    facade.sync();
    let answer = put(&facade, &json!({"train_job_id": made["job"]["id"], "status": "Training"})).await;
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.body);
    assert_eq!(dataset(&facade, &data).spec.state, DatasetState::Enabled, "before the run may begin");
    assert!(!stored(&facade, &made).spec.suspend);
    facade.end().await;
}

#[tokio::test]
async fn data_sets_are_named_in_every_way_that_clients_have() {
    let facade = Fixture::new().await;
    for place in ["My Cats", "cats", "s3://easel/dataset/My Cats", "s3://easel/dataset/team/My Cats/"] {
        for list in ["data_tar_list", "s3_data_path_list"] {
            let mut body = lora();
            body["params"]["training_params"] = json!({list: [place]});
            let answer = facade.post("/train", &body).await;
            assert_eq!(answer.status, StatusCode::OK, "{place}: {}", answer.body);
            assert_eq!(stored(&facade, &answer.json()).spec.concepts[0].dataset.name, "cats");
        }
    }
    let new = json!({"dataset_name": "Just Made", "content": [{"filename": "a.png"}]});
    assert_eq!(facade.post("/dataset", &new).await.status, StatusCode::OK);
    let mut body = lora();
    body["params"]["training_params"] = json!({"data_tar_list": ["Just Made"]});
    let answer = facade.post("/train", &body).await;
    assert_eq!(answer.status, StatusCode::OK, "the watch has not seen it: {}", answer.body);
    for place in
        ["s3://other/dataset/My Cats", "s3://easel/dataset/others/cats", "../cats", "s3://easel/models/x"]
    {
        let mut body = lora();
        body["params"]["training_params"] = json!({"data_tar_list": [place]});
        let answer = facade.post("/train", &body).await;
        assert_eq!(answer.status, StatusCode::BAD_REQUEST, "{place}: {}", answer.body);
    }
}

#[tokio::test]
async fn what_is_wrong_is_named_and_nothing_is_made() {
    let facade = Fixture::new().await;
    let with = |path: &[&str], value: Value| {
        let mut body = lora();
        let mut at = &mut body;
        for name in path {
            at = &mut at[*name];
        }
        *at = value;
        body
    };
    let cases = [
        (json!({}), "train_type: it is missing"),
        (with(&["train_type"], json!("sorcery")), "train_type: \"sorcery\" is not available"),
        (with(&["model_id"], json!("")), "model_id: it is missing"),
        (with(&["model_id"], json!("gone")), "no model has the id or the name gone; known are easel-demo"),
        (with(&["model_id"], json!("waiting-uid")), "model waiting-uid is in WaitingForUpload state"),
        (with(&["params"], Value::Null), "params: it is missing"),
        (with(&["params", "training_params"], json!({})), "params.config_params.concepts_list: 0 concepts"),
        (
            with(&["params", "training_params", "model_name"], json!("../x")),
            "params.training_params.model_name",
        ),
        (with(&["params", "config_params", "optimizer"], json!("Lion")), "params.config_params.optimizer"),
        (
            with(&["params", "config_params", "instance_prompt"], json!("")),
            "params.config_params.concepts_list[0].instance_prompt",
        ),
        (
            with(&["filenames"], json!(["training_config.json", "images.tar"])),
            "filenames[1]: images.tar is an archive",
        ),
        (with(&["train_type"], json!("embeddings")), "params.config_params.token"),
    ];
    let before = facade.cluster.trainings.lock().unwrap().len();
    for (body, want) in cases {
        let answer = facade.post("/train", &body).await;
        let error = answer.json()["error"].as_str().unwrap_or_default().to_owned();
        assert_eq!(answer.status, StatusCode::BAD_REQUEST, "{want}: {}", answer.body);
        assert!(error.starts_with(want), "{want}: {error}");
    }
    assert_eq!(facade.cluster.trainings.lock().unwrap().len(), before);
    let answer = put(&facade, &json!({"train_job_id": "gone", "status": "Training"})).await;
    assert_eq!(
        (answer.status, answer.json()["error"].clone()),
        (StatusCode::NOT_FOUND, json!("no such train job with id(gone)"))
    );
    let answer = put(&facade, &json!({"train_job_id": "train-uid", "status": "Fail"})).await;
    assert_eq!(answer.json(), json!({"statusCode": 200, "msg": "not implemented for train job status Fail"}));
    let over = "status: {conditions: [{type: Failed, status: \"True\", reason: R, message: m, lastTransitionTime: \"2026-01-01T00:00:00Z\"}]}";
    facade.apply_training(&format!("{TRAINING}{over}\n"));
    let answer = put(&facade, &json!({"train_job_id": "train-uid", "status": "Training"})).await;
    assert_eq!(answer.status, StatusCode::BAD_REQUEST, "{}", answer.body);
    assert_eq!(
        facade.public(post("/train", OTHER_KEY, lora().to_string())).await.status,
        StatusCode::FORBIDDEN
    );
}

#[tokio::test]
async fn lists_show_what_kubectl_made_with_words_that_clients_know() {
    let facade = Fixture::new().await;
    facade.apply_training(&format!(
        "{TRAINING}status: {{job: run-1, step: 5, totalSteps: 20, loss: \"0.5\", \
         lastFailure: {{reason: OutOfMemory, message: killed, retriable: true, time: \"2026-01-01T00:00:00Z\"}}}}\n"
    ));
    let seen = facade.get("/trains").await.json();
    let want = json!({
        "id": "train-uid", "modelName": "demo-model", "status": "Training", "trainType": "Lora",
        "created": 1_767_225_600.0, "sagemakerTrainName": "run-1", "name": "run", "output_model": "style",
        "step": 5, "total_steps": 20, "loss": "0.5", "error": "OutOfMemory: killed",
    });
    assert_eq!(seen, json!({"statusCode": 200, "trainJobs": [want]}));
    let cases = [
        ("types=Lora&types=Stable-diffusion", 1),
        ("types=Stable-diffusion", 0),
        ("status=Training&types=Lora", 1),
        ("status=Initialed", 0),
    ];
    for (query, want) in cases {
        let seen = facade.get(&format!("/trains?{query}")).await.json();
        assert_eq!(seen["trainJobs"].as_array().unwrap().len(), want, "{query}");
    }
    facade.post("/train", &lora()).await;
    facade.sync();
    let waiting = facade.get("/trains?status=Initialed").await.json();
    assert_eq!(
        (&waiting["trainJobs"][0]["modelName"], &waiting["trainJobs"][0]["status"]),
        (&json!("circles"), &json!("Initial"))
    );
    assert_eq!(facade.public(get("/trains", OTHER_KEY)).await.status, StatusCode::FORBIDDEN);
}
