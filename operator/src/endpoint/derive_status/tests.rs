//! What the Deployment and its pods say, case by case.

use serde_json::{Value, json};

use super::*;
use crate::endpoint::testing::{endpoint, settings, valid};
use crate::endpoint::{build, testing};

fn now() -> Timestamp {
    Timestamp::from_second(1_000_000).unwrap()
}

/// What was applied, with this status of the Deployment and these pods.
fn applied(status: Value, pods: Vec<Pod>) -> Applied {
    let mut deployment = build(&valid("replicas: 2"), &settings()).deployment;
    deployment.metadata.generation = Some(3);
    deployment.status = serde_json::from_value(status).unwrap();
    let conditions = json!([{"type": "Ready", "status": "True", "reason": "Imported", "message": "",
        "lastTransitionTime": "2026-01-01T00:00:00Z"}]);
    let mut model = crate::model::testing::model("{objectStore: {key: k}}");
    model.status = serde_json::from_value(json!({"conditions": conditions})).unwrap();
    Applied { deployment, pods, models: vec![("m".into(), Some(model))] }
}

/// A pod that cannot be scheduled, of the current template or of another one.
fn unschedulable(current: bool) -> Pod {
    let deployment = build(&valid("replicas: 2"), &settings()).deployment;
    let annotations = deployment.spec.unwrap().template.metadata.unwrap().annotations.unwrap();
    let hash = if current { annotations[TEMPLATE_HASH].as_str() } else { "other" };
    serde_json::from_value(json!({
        "metadata": {"name": "p", "annotations": {TEMPLATE_HASH: hash}},
        "status": {"conditions": [{"type": "PodScheduled", "status": "False", "reason": "Unschedulable",
            "message": "no cpu", "lastTransitionTime": "2026-01-01T00:00:00Z"}]},
    }))
    .unwrap()
}

fn says(status: &EndpointStatus, type_: &str) -> String {
    let found = find(&status.conditions, type_).unwrap_or_else(|| panic!("{type_} is set"));
    format!("{}:{}", found.status, found.reason)
}

#[test]
fn ready_speaks_of_the_current_generation_only() {
    let full = json!({"observedGeneration": 3, "replicas": 2, "updatedReplicas": 2, "readyReplicas": 2});
    let with = |field: &str, value: Value| {
        let mut status = full.clone();
        status[field] = value;
        status
    };
    let deadline = json!([{"type": "Progressing", "status": "False", "reason": "ProgressDeadlineExceeded",
        "message": "timed out"}]);
    let mut late = with("readyReplicas", json!(1));
    late["conditions"] = deadline;
    let mut refused = with("replicas", json!(1));
    refused["updatedReplicas"] = json!(1);
    refused["conditions"] = json!([{"type": "ReplicaFailure", "status": "True", "message": "quota"}]);
    let cases = [
        ("all is well", full.clone(), vec![], "True:Ready", "True"),
        ("not observed yet", with("observedGeneration", json!(2)), vec![], "False:RollingOut", "True"),
        ("old pods are left", with("replicas", json!(3)), vec![], "False:RollingOut", "True"),
        ("a pod starts", with("readyReplicas", json!(1)), vec![], "False:WorkersNotReady", "True"),
        ("nothing is known", json!(null), vec![], "False:RollingOut", "False"),
        (
            "a pod has no node",
            with("readyReplicas", json!(1)),
            vec![unschedulable(true)],
            "False:Unschedulable",
            "True",
        ),
        (
            "an old pod has no node",
            with("readyReplicas", json!(1)),
            vec![unschedulable(false)],
            "False:WorkersNotReady",
            "True",
        ),
        ("one too many has no node", full, vec![unschedulable(true)], "True:Ready", "True"),
        ("patience is over", late, vec![], "False:ProgressDeadlineExceeded", "True"),
        ("a quota is in the way", refused, vec![], "False:PodsRefused", "True"),
    ];
    for (name, status, pods, ready, available) in cases {
        let status = derive_status(&endpoint(), &Ok(applied(status, pods)), now());
        assert_eq!(says(&status, READY), ready, "{name}");
        assert!(says(&status, AVAILABLE).starts_with(available), "{name}");
        assert_eq!(says(&status, RECONCILING).starts_with("True"), ready.starts_with("False"), "{name}");
        assert!(status.conditions.iter().all(|c| c.observed_generation == Some(1)), "{name}");
    }
}

#[test]
fn a_failed_look_keeps_what_was_known() {
    let full = json!({"observedGeneration": 3, "replicas": 2, "updatedReplicas": 2, "readyReplicas": 2});
    let mut seen = endpoint();
    seen.status = Some(derive_status(&seen, &Ok(applied(full, vec![])), now()));
    let timeout = Error::TimedOut { seconds: 60 };
    let kept = derive_status(&seen, &Err(timeout), now());
    assert_eq!((says(&kept, READY).as_str(), kept.ready_replicas), ("True:Ready", 2));
    assert_eq!(says(&kept, RECONCILING), "True:ApiServerTimeout");
    assert_eq!(kept.last_failure.unwrap().reason, "ApiServerTimeout");

    let mut changed = testing::endpoint_from("{replicas: 5}");
    changed.metadata.generation = Some(2);
    changed.status = seen.status.clone();
    let unsure = derive_status(&changed, &Err(Error::TimedOut { seconds: 60 }), now());
    assert_eq!(says(&unsure, READY), "False:ApiServerTimeout", "the new spec was never seen to work");

    let conflict = Error::NameConflict { kind: "Service".into(), name: "x".into() };
    let stalled = derive_status(&seen, &Err(conflict), now());
    assert_eq!(
        (says(&stalled, READY).as_str(), says(&stalled, STALLED).as_str()),
        ("False:NameConflict", "True:NameConflict")
    );
    assert_eq!(says(&stalled, MODELS_READY), "True:ModelsReady");
}

#[test]
fn the_same_failure_keeps_its_time() {
    let refused = json!({"conditions": [{"type": "ReplicaFailure", "status": "True", "message": "quota"}]});
    let mut seen = endpoint();
    let first = derive_status(&seen, &Ok(applied(refused.clone(), vec![])), now());
    seen.status = Some(first.clone());
    let later = Timestamp::from_second(2_000_000).unwrap();
    let second = derive_status(&seen, &Ok(applied(refused, vec![])), later);
    assert_eq!(first, second);
}

#[test]
fn what_workers_hold_is_left_to_the_facade() {
    use easel_crds::endpoint::{ServedModel, ServedState};
    let mut endpoint = endpoint();
    let served =
        ServedModel { name: "m".into(), state: ServedState::Loaded, loaded: 2, reason: None, message: None };
    endpoint.status = Some(EndpointStatus { models: vec![served], ..Default::default() });
    let full = json!({"observedGeneration": 3, "replicas": 2, "updatedReplicas": 2, "readyReplicas": 2});
    for outcome in [Ok(applied(full, vec![])), Err(Error::Unstored)] {
        let status = derive_status(&endpoint, &outcome, now());
        let written = serde_json::to_value(&status).unwrap();
        assert!(written.get("models").is_none(), "a field that is applied is owned: {written}");
        // With the facade's field in it the stored status is still the one that was written.
        endpoint.status = Some(EndpointStatus { models: endpoint.status.unwrap().models, ..status.clone() });
        assert_eq!(crate::endpoint::update_status::ours(endpoint.status.as_ref().unwrap()), status);
    }
}
