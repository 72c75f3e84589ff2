//! What goes wrong in pods and specs reaches the Endpoint's status, and leaves it again.

use serde_json::{Value, json};

use crate::api::Api;
use crate::fixture::{
    ENDPOINTS, EVENTS, MODELS, PODS, at, condition, endpoint, model_and_endpoint, ready, stored_model,
};
use crate::process::settle;

const POD: &str = "easel-endpoint-demo-0";

async fn with_pod(container: Value) -> (Api, Value) {
    let api = Api::default();
    model_and_endpoint(&api);
    settle(&api).await;
    api.change(&at(PODS, POD), |pod| {
        let mut status = json!({"name": "serve", "image": "im/age:1", "imageID": "", "ready": false,
            "restartCount": 2});
        status.as_object_mut().unwrap().extend(container.as_object().unwrap().clone());
        pod["status"]["containerStatuses"][0] = status;
    });
    settle(&api).await;
    let endpoint = api.get(&at(ENDPOINTS, "demo")).unwrap();
    (api, endpoint)
}

#[tokio::test]
async fn pod_failures_reach_the_status_and_are_marked() {
    let report = json!({"reason": "ModelLoadFailed", "message": "m is a pickle", "retriable": false});
    let ended = |end: Value| json!({"state": {"waiting": {"reason": "CrashLoopBackOff"}}, "lastState": {"terminated": end}});
    let cases = [
        (json!({"state": {"waiting": {"reason": "ErrImagePull"}}}), "ImagePullFailed", true),
        (json!({"state": {"waiting": {"reason": "InvalidImageName"}}}), "InvalidImageName", false),
        (ended(json!({"exitCode": 1})), "CrashLoopBackOff", true),
        (ended(json!({"exitCode": 137, "reason": "OOMKilled"})), "OOMKilled", false),
        (ended(json!({"exitCode": 65, "message": report.to_string()})), "ModelLoadFailed", false),
    ];
    for (container, reason, retriable) in cases {
        let (api, endpoint) = with_pod(container).await;
        assert_eq!(ready(&endpoint), format!("False:{reason}"));
        let failure = &endpoint["status"]["lastFailure"];
        assert_eq!((&failure["reason"], &failure["retriable"]), (&json!(reason), &json!(retriable)));
        assert_eq!(failure["pod"], POD);
        let stalled = if retriable { "False" } else { "True" };
        assert_eq!(condition(&endpoint, "Stalled").0, stalled, "{reason}");
        assert_eq!(condition(&endpoint, "Reconciling").0, if retriable { "True" } else { "False" });
        assert_eq!(condition(&endpoint, "Available").0, "False");
        let warned = api.all(EVENTS).iter().any(|(_, e)| e["reason"] == reason && e["type"] == "Warning");
        assert!(warned, "{reason} is told by an event");

        api.remove(&at(PODS, POD));
        settle(&api).await;
        let endpoint = api.get(&at(ENDPOINTS, "demo")).unwrap();
        assert_eq!(ready(&endpoint), "True:Ready", "after {reason}");
        assert_eq!(endpoint["status"]["lastFailure"]["reason"], reason, "kept until the next failure");
    }
}

#[tokio::test]
async fn a_failing_pod_does_not_cost_a_write_per_look() {
    let crash = json!({"state": {"waiting": {"reason": "CrashLoopBackOff", "message": "back-off 10s"}},
        "lastState": {"terminated": {"exitCode": 1, "finishedAt": "2026-01-01T00:00:00Z"}}});
    let (api, _) = with_pod(crash).await;
    api.take_writes();
    api.change(&at(PODS, POD), |pod| {
        let container = &mut pod["status"]["containerStatuses"][0];
        container["state"]["waiting"]["message"] = json!("back-off 20s");
        container["restartCount"] = json!(3);
    });
    settle(&api).await;
    assert_eq!(api.take_writes(), Vec::<String>::new());
}

#[tokio::test]
async fn missing_and_unready_models_are_named() {
    let api = Api::default();
    api.put(ENDPOINTS, endpoint("demo", &["m", "n"]));
    settle(&api).await;
    let found = api.get(&at(ENDPOINTS, "demo")).unwrap();
    assert_eq!(ready(&found), "False:ModelNotFound");
    assert_eq!(condition(&found, "Available").0, "True", "workers are there");

    api.put(MODELS, stored_model("m"));
    let upload = json!({"upload": {"files": [{"name": "n.safetensors"}]}});
    api.put(MODELS, crate::fixture::model("n", &upload));
    settle(&api).await;
    let found = api.get(&at(ENDPOINTS, "demo")).unwrap();
    assert_eq!(ready(&found), "False:ModelNotReady");
    let message = found["status"]["conditions"][0]["message"].as_str().unwrap();
    assert!(message.contains("Model n") && message.contains("WaitingForUpload"), "{message}");
    assert_eq!(found["status"]["targetModels"], json!([{"name": "m", "sha256": "a".repeat(64)}]));
    assert!(found["status"]["activeModels"].is_null());
}

#[tokio::test]
async fn a_spec_that_cannot_run_stalls_and_recovers() {
    let api = Api::default();
    model_and_endpoint(&api);
    settle(&api).await;
    let change = |value: Value| {
        api.change(&at(ENDPOINTS, "demo"), |endpoint| endpoint["spec"]["instanceType"] = value);
    };
    change(json!("ml.g5.huge"));
    let process = crate::process::Process::start(&api, "");
    process.look(&api, k8s_openapi::jiff::Timestamp::now()).await;
    let found = api.get(&at(ENDPOINTS, "demo")).unwrap();
    assert_eq!(condition(&found, "Stalled"), ("True".into(), "UnknownInstanceType".into()));
    assert_eq!(condition(&found, "Available").0, "True", "the workers of the last good spec go on");
    assert_eq!(found["status"]["observedGeneration"], found["metadata"]["generation"]);
    change(json!("cpu.medium"));
    settle(&api).await;
    assert_eq!(ready(&api.get(&at(ENDPOINTS, "demo")).unwrap()), "True:Ready");
}

#[tokio::test]
async fn suspended_and_scaled_down_endpoints_rest() {
    let api = Api::default();
    model_and_endpoint(&api);
    settle(&api).await;
    for (field, value, reason) in
        [("suspend", json!(true), "Suspended"), ("replicas", json!(0), "ScaledToZero")]
    {
        api.change(&at(ENDPOINTS, "demo"), |endpoint| {
            endpoint["spec"]["suspend"] = json!(false);
            endpoint["spec"][field] = value;
        });
        settle(&api).await;
        let found = api.get(&at(ENDPOINTS, "demo")).unwrap();
        assert_eq!(ready(&found), format!("False:{reason}"));
        assert_eq!(condition(&found, "Reconciling").0, "False", "{reason}");
        assert_eq!(
            (&found["status"]["replicas"], &found["status"]["desiredReplicas"]),
            (&json!(0), &json!(0))
        );
        assert_eq!(api.all(PODS).len(), 0);
    }
}
