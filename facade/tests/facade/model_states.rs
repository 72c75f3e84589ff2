//! What workers hold, in the Endpoint's status.

use easel_crds::endpoint::{ServedModel, ServedState};
use easel_facade::tasks::{SILENCE, sweep_models};
use easel_protocol::worker::MODEL_STATES_PATH;
use http::StatusCode;
use jiff::Timestamp;
use serde_json::{Value, json};

use crate::fixture::Fixture;

const ONE: &str = "team/easel-endpoint-demo/pod-1";
const TWO: &str = "team/easel-endpoint-demo/pod-2";

async fn says(facade: &Fixture, token: &str, models: &Value) {
    let answer = facade.pod(token, MODEL_STATES_PATH, &json!({"models": models})).await;
    assert_eq!(answer.status, StatusCode::NO_CONTENT, "{}", answer.body);
}

fn loading() -> Value {
    json!([{"model": "demo-model", "phase": "Loading"}, {"model": "no-model-of-ours", "phase": "Loaded"}])
}

fn loaded() -> Value {
    json!([{"model": "demo-model", "phase": "Loaded"}])
}

fn served(state: ServedState, count: i32) -> ServedModel {
    ServedModel { name: "demo-model".into(), state, loaded: count, reason: None, message: None }
}

/// What was written since the last look; the watch sees the last of it.
fn written(facade: &Fixture) -> Vec<Vec<ServedModel>> {
    let written = std::mem::take(&mut *facade.cluster.served.lock().unwrap());
    if let Some((_, models)) = written.last() {
        let models = serde_json::to_string(models).unwrap();
        facade.apply_endpoint(&format!(
            "{{apiVersion: easel.dev/v1alpha1, kind: Endpoint, metadata: {{name: demo, namespace: team, uid: demo-uid, \
             creationTimestamp: \"2026-01-01T08:00:47Z\"}}, spec: {{models: [{{name: demo-model}}]}}, \
             status: {{models: {models}}}}}"
        ));
    }
    assert!(written.iter().all(|(whose, _)| whose == "team/demo demo-uid"), "{written:?}");
    written.into_iter().map(|(_, models)| models).collect()
}

#[tokio::test]
async fn the_status_follows_the_workers_and_is_written_only_when_it_changes() {
    let facade = Fixture::new().await;
    says(&facade, ONE, &loading()).await;
    assert_eq!(written(&facade), [[served(ServedState::Loading, 0)]]);
    says(&facade, ONE, &loading()).await;
    sweep_models(&facade.app, Timestamp::now()).await;
    assert_eq!(written(&facade), Vec::<Vec<_>>::new(), "a sign of life is no news");
    says(&facade, ONE, &loaded()).await;
    assert_eq!(written(&facade), [[served(ServedState::Loaded, 1)]]);
    says(&facade, TWO, &loaded()).await;
    assert_eq!(written(&facade), [[served(ServedState::Loaded, 2)]]);
    let failure = json!({"reason": "MissingTensor", "message": "there is no out.2", "retriable": false});
    says(&facade, TWO, &json!([{"model": "demo-model", "phase": "Failed", "failure": failure}])).await;
    let failed = ServedModel {
        reason: Some("MissingTensor".into()),
        message: Some("there is no out.2".into()),
        ..served(ServedState::Failed, 1)
    };
    assert_eq!(written(&facade), [[failed]]);
    says(&facade, TWO, &json!([])).await;
    assert_eq!(written(&facade), [[served(ServedState::Loaded, 1)]], "the second worker left");
    sweep_models(&facade.app, Timestamp::now() + SILENCE * 2).await;
    assert_eq!(written(&facade), [Vec::new()], "the first one went silent");
    sweep_models(&facade.app, Timestamp::now() + SILENCE * 2).await;
    assert_eq!(written(&facade), Vec::<Vec<_>>::new(), "and nothing is written for an idle Endpoint");
}

#[tokio::test]
async fn what_another_facade_was_told_counts_as_well() {
    let facade = Fixture::new().await;
    says(&facade, ONE, &loaded()).await;
    assert_eq!(written(&facade), [[served(ServedState::Loaded, 1)]]);
    // The other facade wrote a moment too late what it had seen before.
    facade
        .cluster
        .served
        .lock()
        .unwrap()
        .push(("team/demo demo-uid".into(), vec![served(ServedState::Loading, 0)]));
    written(&facade);
    sweep_models(&facade.app, Timestamp::now()).await;
    assert_eq!(written(&facade), [[served(ServedState::Loaded, 1)]]);
}

#[tokio::test]
async fn reports_are_bounded_and_workers_speak_for_their_own_endpoint() {
    let facade = Fixture::new().await;
    let many: Vec<Value> = (0..65).map(|n| json!({"model": format!("m{n}"), "phase": "Loaded"})).collect();
    let answer = facade.pod(ONE, MODEL_STATES_PATH, &json!({"models": many})).await;
    assert_eq!(answer.status, StatusCode::BAD_REQUEST);
    assert!(answer.body.contains("65 models are reported; 64 are allowed"), "{}", answer.body);
    let importer = "team/easel-import-demo-model/pod-1";
    let answer = facade.pod(importer, MODEL_STATES_PATH, &json!({"models": loaded()})).await;
    assert_eq!(answer.status, StatusCode::FORBIDDEN);
    says(&facade, "others/easel-endpoint-demo/pod-1", &loaded()).await;
    assert_eq!(written(&facade), Vec::<Vec<_>>::new(), "that namespace has no such Model");
}
