//! A Model that is deleted while something uses it.

use k8s_openapi::jiff::Timestamp;
use serde_json::{Value, json};

use crate::api::Api;
use crate::fixture::{
    ENDPOINTS, EVENTS, MODELS, TRAININGS, at, condition, endpoint, model, model_and_endpoint, ready,
    stored_model, training,
};
use crate::process::{Process, settle};

const FINALIZER: &str = "easel.dev/model-bytes";

fn held(api: &Api, name: &str) -> bool {
    let model = api.get(&at(MODELS, name)).unwrap();
    model["metadata"]["finalizers"].as_array().is_some_and(|all| all.contains(&json!(FINALIZER)))
}

fn complete(training: &mut Value) {
    training["status"] = json!({"conditions": [{"type": "Complete", "status": "True", "reason": "Trained",
        "message": "", "lastTransitionTime": "2026-01-01T00:00:00Z"}]});
}

/// A merge that the operator will never finish here, of `m` and `n`.
fn merging(name: &str) -> Value {
    model(name, &json!({"merge": {"method": "WeightedSum", "models": [{"name": "m"}, {"name": "n"}]}}))
}

async fn look(api: &Api) -> Vec<String> {
    Process::start(api, "").look(api, Timestamp::now()).await
}

#[tokio::test]
async fn a_model_that_nobody_uses_goes_without_the_operator() {
    let api = Api::default();
    api.put(MODELS, stored_model("m"));
    settle(&api).await;
    assert!(!held(&api, "m"));
    api.delete(&at(MODELS, "m"));
    assert_eq!(api.get(&at(MODELS, "m")), None);
}

#[tokio::test]
async fn deletion_waits_for_every_user_and_names_them() {
    let api = Api::default();
    model_and_endpoint(&api);
    api.put(TRAININGS, training("t", "m"));
    api.put(TRAININGS, training("other", "n"));
    api.put(MODELS, merging("mix"));
    look(&api).await;
    crate::world::step(&api);
    for _ in 0..4 {
        look(&api).await;
    }
    assert_eq!(ready(&api.get(&at(MODELS, "m")).unwrap()), "True:Imported");
    assert!(held(&api, "m"));
    api.delete(&at(MODELS, "m"));
    look(&api).await;
    let waiting = api.get(&at(MODELS, "m")).expect("it is used");
    assert_eq!(condition(&waiting, "Reconciling"), ("True".into(), "InUse".into()));
    assert_eq!(ready(&waiting), "True:Imported", "its users go on");
    let users = json!([{"kind": "Endpoint", "name": "demo"}, {"kind": "Model", "name": "mix"},
        {"kind": "TrainingJob", "name": "t"}]);
    assert_eq!(waiting["status"]["usedBy"], users);
    let told = |api: &Api| {
        let note = |event: &Value| event["note"].as_str().unwrap_or_default().to_owned();
        let all = api.all(EVENTS);
        all.iter().filter(|(_, event)| event["reason"] == "InUse").map(|(_, e)| note(e)).collect::<Vec<_>>()
    };
    let sentence = "is deleted once nothing uses it; it is used by Endpoint demo, Model mix, TrainingJob t";
    assert_eq!(told(&api), [sentence]);
    api.take_writes();
    look(&api).await;
    look(&api).await;
    assert_eq!(api.take_writes(), Vec::<String>::new(), "waiting costs nothing");

    // Each in its own way: one is complete, one goes, one lists something else.
    api.change(&at(TRAININGS, "t"), complete);
    api.delete(&at(MODELS, "mix"));
    look(&api).await;
    let users = api.get(&at(MODELS, "m")).expect("still used")["status"]["usedBy"].clone();
    assert_eq!(users, json!([{"kind": "Endpoint", "name": "demo"}]));
    api.change(&at(ENDPOINTS, "demo"), |endpoint| endpoint["spec"]["models"] = json!([{"name": "n"}]));
    look(&api).await;
    assert_eq!(api.get(&at(MODELS, "m")), None);
}

#[tokio::test]
async fn the_finalizer_comes_and_goes_with_the_users_and_leaves_others_alone() {
    let api = Api::default();
    let mut model = stored_model("m");
    model["metadata"]["finalizers"] = json!(["example.com/theirs"]);
    api.put(MODELS, model);
    api.put(ENDPOINTS, endpoint("demo", &["m"]));
    settle(&api).await;
    let finalizers = |api: &Api| api.get(&at(MODELS, "m")).unwrap()["metadata"]["finalizers"].clone();
    assert_eq!(finalizers(&api), json!(["example.com/theirs", FINALIZER]));
    api.change(&at(ENDPOINTS, "demo"), |endpoint| endpoint["spec"]["models"] = json!([{"name": "n"}]));
    look(&api).await;
    assert_eq!(finalizers(&api), json!(["example.com/theirs"]));
    api.delete(&at(MODELS, "m"));
    api.take_writes();
    look(&api).await;
    let ours: Vec<String> = api.take_writes().into_iter().filter(|w| w.contains("/models/m")).collect();
    assert_eq!(ours, Vec::<String>::new(), "what waits for others is theirs");
}

#[tokio::test]
async fn a_namespace_that_goes_is_not_held_up() {
    let api = Api::default();
    model_and_endpoint(&api);
    settle(&api).await;
    // Foreground deletion keeps the Endpoint until its pods are gone.
    api.change(&at(ENDPOINTS, "demo"), |endpoint| {
        endpoint["metadata"]["deletionTimestamp"] = json!("2026-01-01T00:00:00Z");
        endpoint["metadata"]["finalizers"] = json!(["foregroundDeletion"]);
    });
    api.delete(&at(MODELS, "m"));
    assert!(held(&api, "m"));
    look(&api).await;
    assert_eq!(api.get(&at(MODELS, "m")), None);
}

#[tokio::test]
async fn a_model_is_released_whatever_request_fails() {
    for fault in ["fail500", "conflict", "timeout", "lost", "crash"] {
        for n in 1..=3 {
            let api = Api::default();
            model_and_endpoint(&api);
            settle(&api).await;
            api.delete(&at(MODELS, "m"));
            let process = Process::start(&api, &format!("{fault}:WRITE:{n}"));
            process.look(&api, Timestamp::now()).await;
            assert!(api.get(&at(MODELS, "m")).is_some(), "{fault} {n}: the Endpoint still lists it");
            api.remove(&at(ENDPOINTS, "demo"));
            for _ in 0..3 {
                process.look(&api, Timestamp::now()).await;
            }
            look(&api).await;
            assert_eq!(api.get(&at(MODELS, "m")), None, "{fault} at write {n}");
        }
    }
}
