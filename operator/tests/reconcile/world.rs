//! The rest of the cluster: Deployments get pods, Jobs run an importer, as their controllers and the kubelet
//! would do it.

use easel_protocol::import::{
    ImportResult, ImportedFile, ImportedModel, ImportedNetwork, ImportedPicture, weights_key,
};
use serde_json::{Value, json};

use crate::api::Api;
use crate::fixture::{DEPLOYMENTS, JOBS, PODS, at};
use crate::trainer;

/// One step of every controller.
pub fn step(api: &Api) {
    for (path, deployment) in api.all(DEPLOYMENTS) {
        run_deployment(api, &path, &deployment);
    }
    for (path, job) in api.all(JOBS) {
        match job["spec"]["template"]["spec"]["containers"][0]["name"].as_str() {
            Some("train") => trainer::train(api, &path, &job),
            Some("check") => trainer::check(api, &path, &job),
            _ => run_job(api, &path, &job),
        }
    }
}

/// Pods of the current template, all ready unless a test has said otherwise of a pod.
fn run_deployment(api: &Api, path: &str, deployment: &Value) {
    let name = deployment["metadata"]["name"].as_str().unwrap();
    let wanted = deployment["spec"]["replicas"].as_i64().unwrap_or(0);
    let template = &deployment["spec"]["template"];
    let mut ready = 0;
    for (path, pod) in api.all(PODS) {
        let of_this = pod["metadata"]["labels"]["easel.dev/endpoint"]
            == deployment["metadata"]["labels"]["easel.dev/endpoint"];
        let index = pod["metadata"]["annotations"]["test/index"].as_str().and_then(|i| i.parse::<i64>().ok());
        let outdated = pod["metadata"]["annotations"]["easel.dev/template-hash"]
            != template["metadata"]["annotations"]["easel.dev/template-hash"];
        if of_this && (outdated || index.is_none_or(|index| index >= wanted)) {
            api.remove(&path);
        }
    }
    for index in 0..wanted {
        let pod_name = format!("{name}-{index}");
        let live = api.get(&at(PODS, &pod_name)).unwrap_or_else(|| {
            let mut pod = json!({"apiVersion": "v1", "kind": "Pod", "metadata": template["metadata"],
                "spec": template["spec"], "status": {"phase": "Running", "containerStatuses": [
                    {"name": "serve", "image": "i", "imageID": "", "ready": true, "restartCount": 0}]}});
            pod["metadata"]["name"] = json!(pod_name);
            pod["metadata"]["namespace"] = json!("tenant");
            pod["metadata"]["annotations"]["test/index"] = json!(index.to_string());
            pod["metadata"]["ownerReferences"] = json!([{"apiVersion": "apps/v1", "kind": "ReplicaSet",
                "name": name, "uid": deployment["metadata"]["uid"], "controller": true}]);
            api.put(PODS, pod)
        });
        ready += i64::from(live["status"]["containerStatuses"][0]["ready"] == true);
    }
    api.change(path, |deployment| {
        deployment["status"] = json!({"observedGeneration": deployment["metadata"]["generation"],
            "replicas": wanted, "updatedReplicas": wanted, "readyReplicas": ready});
    });
}

/// An importer that succeeds, unless the Job was given an end by a test.
fn run_job(api: &Api, path: &str, job: &Value) {
    if !job["status"].is_null() {
        return;
    }
    let file = ImportedFile {
        name: "a.safetensors".into(),
        key: weights_key(&"a".repeat(64)),
        sha256: "a".repeat(64),
        size_bytes: 5,
    };
    let imported = ImportedModel {
        files: vec![file],
        family: "Sd1".into(),
        prediction_type: Some("epsilon".into()),
        precision: Some("f16".into()),
        trigger_words: vec!["zorb".into()],
        base_model: Some("sd_v1".into()),
        network: Some(ImportedNetwork { kind: "LoCon".into(), rank: Some(16) }),
        thumbnail: Some(ImportedPicture {
            sha256: "b".repeat(64),
            media_type: "image/png".into(),
            size_bytes: 70,
        }),
    };
    let message = serde_json::to_value(ImportResult::Succeeded(imported)).unwrap();
    end_job(api, path, "Complete", "", 0, &message);
}

/// Ends a Job: its pod with this exit status and termination message, and the Job with this condition.
pub fn end_job(api: &Api, path: &str, type_: &str, reason: &str, exit_code: i32, message: &Value) {
    let job = api.get(path).unwrap();
    let name = job["metadata"]["name"].as_str().unwrap();
    let failed = i32::from(exit_code != 0);
    let phase = if exit_code == 0 { "Succeeded" } else { "Failed" };
    let container = &job["spec"]["template"]["spec"]["containers"][0]["name"];
    let mut pod = json!({"apiVersion": "v1", "kind": "Pod",
        "metadata": job["spec"]["template"]["metadata"], "status": {"phase": phase,
        "containerStatuses": [{"name": container, "image": "i", "imageID": "", "ready": false,
            "restartCount": 0, "state": {"terminated": {"exitCode": exit_code, "message": message.to_string(),
            "finishedAt": "2026-01-01T00:00:00Z"}}}]}});
    pod["metadata"]["name"] = json!(format!("{name}-pod"));
    pod["metadata"]["namespace"] = json!("tenant");
    pod["metadata"]["ownerReferences"] = json!([{"apiVersion": "batch/v1", "kind": "Job", "name": name,
        "uid": job["metadata"]["uid"], "controller": true}]);
    api.put(PODS, pod);
    api.change(path, |job| {
        job["status"] = json!({"failed": failed, "succeeded": 1 - failed, "startTime": "2026-01-01T00:00:00Z", "conditions": [{"type": type_, "status": "True",
            "reason": reason, "message": "", "lastTransitionTime": "2026-01-01T00:00:00Z"}]});
    });
}
