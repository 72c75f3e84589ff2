//! Networks that prompts name: from the request through the job to the worker.

use easel_protocol::NetworkKind;
use easel_protocol::worker::{CLAIM_PATH, ClaimRequest, ClaimedJob, MODELS_PATH, ModelSet};
use easel_store::jobs::{JobFilter, JobId, JobState};
use http::StatusCode;
use serde_json::{Value, json};

use crate::fixture::Fixture;
use crate::objects::SHA;

const TOKEN: &str = "team/easel-endpoint-demo/pod-1";
const PATH: &str = "/inference-api/inference";

fn model(name: &str, kind: &str, display: &str, ready: bool, digit: char) -> String {
    let (status, sha) = (if ready { "True" } else { "False" }, digit.to_string().repeat(64));
    format!(
        "apiVersion: easel.dev/v1alpha1\nkind: Model\nmetadata: {{name: {name}, namespace: team, uid: {name}-uid}}\n\
         spec: {{type: {kind}, displayName: {display}, source: {{objectStore: {{key: import/{name}}}}}}}\n\
         status:\n  conditions: [{{type: Ready, status: \"{status}\", reason: Importing, message: half of it is there, \
         lastTransitionTime: \"2026-01-01T00:00:00Z\"}}]\n  \
         files: [{{name: {name}.safetensors, key: import/{name}, sizeBytes: 4, sha256: {sha}}}]\n"
    )
}

fn endpoint(models: &str, policy: &str) -> String {
    format!(
        "apiVersion: easel.dev/v1alpha1\nkind: Endpoint\nmetadata: {{name: demo, namespace: team, uid: demo-uid, \
         creationTimestamp: \"2026-01-01T08:00:47Z\"}}\nspec: {{modelPolicy: {policy}, models: [{models}]}}\n\
         status:\n  readyReplicas: 1\n  conditions: [{{type: Ready, status: \"True\", reason: Ready, message: serving, \
         lastTransitionTime: \"2026-01-01T08:12:55Z\"}}]\n"
    )
}

async fn facade() -> Fixture {
    let facade = Fixture::new().await;
    for yaml in [
        model("ink-1", "Lora", "ink.safetensors", true, 'b'),
        model("early", "Lora", "early", false, 'c'),
        model("dog", "TextualInversion", "sks-dog.pt", true, 'd'),
        model("mse", "Vae", "mse", true, 'e'),
    ] {
        facade.apply_model(&yaml);
    }
    facade.apply_endpoint(&endpoint("{name: demo-model}", "Namespace"));
    facade
}

fn body(prompt: &str, extra: &Value) -> Value {
    let mut body = json!({
        "task_type": "txt2img", "prompt": prompt, "sagemaker_endpoint_name": "demo", "width": 64, "height": 64,
        "models": {"Stable-diffusion": ["easel-demo.safetensors"]},
    });
    for (name, value) in extra.as_object().unwrap() {
        body[name] = value.clone();
    }
    body
}

async fn claim(facade: &Fixture) -> Option<ClaimedJob> {
    let request = ClaimRequest { held: vec![SHA.into()], wait_seconds: 0 };
    let answer = facade.pod(TOKEN, CLAIM_PATH, &serde_json::to_value(&request).unwrap()).await;
    (answer.status == StatusCode::OK).then(|| serde_json::from_str(&answer.body).unwrap())
}

#[tokio::test]
async fn the_worker_gets_the_file_of_each_network_that_a_prompt_names() {
    let facade = facade().await;
    let extra = json!({"negative_prompt": "(SKS-Dog:1.2)", "override_settings": {"sd_vae": "mse"}});
    let answer = facade.post(PATH, &body("a circle <lora:ink:0.8>", &extra)).await;
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.body);
    let models = &answer.json()["inference"]["models"];
    let types: Vec<_> =
        models.as_array().unwrap().iter().map(|model| model["type"].as_str().unwrap()).collect();
    assert_eq!(types, ["Lora", "Stable-diffusion", "VAE", "embeddings"], "{models}");

    let job = claim(&facade).await.expect("a job waits");
    assert_eq!(job.request.prompt, "a circle <lora:ink:0.8>", "the engine reads the tags itself");
    let networks: Vec<_> =
        job.networks.iter().map(|n| (n.kind, n.name.as_str(), n.file.model.as_str())).collect();
    let want = [
        (NetworkKind::Lora, "ink", "ink-1"),
        (NetworkKind::Vae, "mse", "mse"),
        (NetworkKind::TextualInversion, "sks-dog", "dog"),
        // The stem of its file: which of the two is meant, the engine's tokens tell.
        (NetworkKind::TextualInversion, "dog", "dog"),
    ];
    assert_eq!(networks, want);
    assert_eq!(job.networks[0].file.sha256, "b".repeat(64));
    assert!(job.networks.iter().all(|network| network.file.url.starts_with("http")), "each can be fetched");
}

#[tokio::test]
async fn a_network_that_cannot_be_used_is_refused_at_once() {
    let facade = facade().await;
    let none = json!({});
    let cases = [
        (
            body("<lora:nope>", &none),
            "checkpoint with name nope, type Lora is not found; known are ink.safetensors",
        ),
        (
            body("<hypernet:ink>", &none),
            "checkpoint with name ink, type hypernetworks is not found; there is none",
        ),
        (
            body("<lora:early:1>", &none),
            "checkpoint with name early, type Lora is not Active: Importing: half of it is there",
        ),
        (
            body("a", &json!({"models": {"Stable-diffusion": ["easel-demo.safetensors"], "Lora": ["x"]}})),
            "checkpoint with name x, type Lora is not found; known are ink.safetensors",
        ),
        (
            body("a", &json!({"override_settings": {"sd_vae": "x"}})),
            "checkpoint with name x, type VAE is not found; known are mse",
        ),
    ];
    for (body, want) in cases {
        let answer = facade.post(PATH, &body).await;
        assert_eq!((answer.status, &answer.json()["err"]), (StatusCode::BAD_REQUEST, &json!(want)), "{body}");
    }
    let many: String = (0..65).map(|n| format!("<lora:n{n}>")).collect();
    let answer = facade.post(PATH, &body(&many, &none)).await;
    assert_eq!(answer.json()["err"], "number of models is 65; at most 64 are allowed");

    facade.apply_endpoint(&endpoint("{name: demo-model}", "Listed"));
    let answer = facade.post(PATH, &body("<lora:ink> sks-dog", &none)).await;
    let want = "checkpoint with name ink, type Lora is not among the models of endpoint demo";
    assert_eq!(answer.json()["err"], want, "a word that is not offered is just a word");
    assert!(facade.app.jobs.list(&JobFilter::new("team")).await.unwrap().jobs.is_empty());
}

#[tokio::test]
async fn a_job_whose_network_has_other_bytes_by_now_fails_by_its_name() {
    let facade = facade().await;
    let answer = facade.post(PATH, &body("<lora:ink>", &json!({}))).await;
    let id: JobId = answer.json()["inference_id"].as_str().unwrap().parse().unwrap();
    facade.apply_model(&model("ink-1", "Lora", "ink.safetensors", true, 'f'));
    assert!(claim(&facade).await.is_none());
    let job = facade.app.jobs.find(id).await.unwrap().unwrap();
    assert_eq!(job.state, JobState::Failed);
    let failure = job.failure.unwrap();
    assert_eq!(failure.reason, "ModelChanged");
    assert!(
        failure.message.starts_with("Model team/ink-1 was deleted or has other bytes"),
        "{}",
        failure.message
    );
}

#[tokio::test]
async fn listed_networks_are_held_and_are_no_checkpoints() {
    let facade = facade().await;
    facade.apply_model(&model("edges", "ControlNet", "edges", true, '9'));
    let names = "{name: demo-model}, {name: ink-1}, {name: dog}, {name: edges}, {name: early}";
    facade.apply_endpoint(&endpoint(names, "Listed"));
    let request = axum::extract::Request::get(MODELS_PATH).header("authorization", format!("Bearer {TOKEN}"));
    let answer = facade.internal(request.body(axum::body::Body::empty()).unwrap()).await;
    let set: ModelSet = serde_json::from_str(&answer.body).unwrap();
    let checkpoints: Vec<_> = set.models.iter().map(|file| file.model.as_str()).collect();
    let networks: Vec<_> = set.networks.iter().map(|n| (n.kind, n.file.model.as_str())).collect();
    let pending: Vec<_> = set.pending.iter().map(|model| model.model.as_str()).collect();
    assert_eq!((checkpoints, pending), (vec!["demo-model"], vec!["early"]));
    assert_eq!(networks, [(NetworkKind::Lora, "ink-1"), (NetworkKind::TextualInversion, "dog")]);
}
