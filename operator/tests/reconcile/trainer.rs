//! What runs in the Jobs of trainings and checks.

use easel_protocol::FailureReport;
use easel_protocol::dataset::{CheckResult, CheckedDataset, Problem, ProblemReason};
use easel_protocol::import::ImportedFile;
use easel_protocol::training::{TrainResult, TrainedFile};
use serde_json::{Value, json};

use crate::api::Api;
use crate::fixture::{DATASETS, PODS, TRAININGS, at};
use crate::world::end_job;

/// Steps that stand for a training without an end.
pub const ENDLESS: u64 = 999;
/// Steps that stand for a training that fails for good.
pub const FAILS: u64 = 13;

/// A trainer that does what the number of steps orders, unless the Job is held or has ended.
pub fn train(api: &Api, path: &str, job: &Value) {
    let pod = at(PODS, &format!("{}-running", job["metadata"]["name"].as_str().unwrap()));
    if job["spec"]["suspend"] == true {
        if api.get(&pod).is_some() {
            api.remove(&pod);
            api.change(path, |job| job["status"]["active"] = json!(0));
        }
        return;
    }
    if !job["status"]["conditions"].is_null() {
        return;
    }
    let name = job["metadata"]["labels"]["easel.dev/training-job"].as_str().unwrap();
    let training = api.get(&at(TRAININGS, name)).unwrap();
    match training["spec"]["hyperparameters"]["steps"].as_u64() {
        Some(ENDLESS) if api.get(&pod).is_some() => {}
        Some(ENDLESS) => begin(api, path, job),
        Some(FAILS) => {
            let report = FailureReport::new("NoPictures", "there is nothing to train on", false);
            end(api, path, "Failed", "PodFailurePolicy", 65, &TrainResult::Failed(report));
        }
        _ => end(api, path, "Complete", "", 0, &trained("a")),
    }
}

/// The result with a file whose hash is made of this digit.
pub fn trained(digit: &str) -> TrainResult {
    let sha256 = digit.repeat(64);
    let file = ImportedFile {
        name: "out.safetensors".into(),
        key: format!("models/sha256/{sha256}"),
        sha256,
        size_bytes: 5,
    };
    TrainResult::Succeeded(TrainedFile { file, steps: 1, loss: Some(0.5) })
}

/// Ends a training Job.
pub fn end(api: &Api, path: &str, type_: &str, reason: &str, exit_code: i32, result: &TrainResult) {
    end_job(api, path, type_, reason, exit_code, &serde_json::to_value(result).unwrap());
}

fn begin(api: &Api, path: &str, job: &Value) {
    let name = job["metadata"]["name"].as_str().unwrap();
    let mut pod = json!({"apiVersion": "v1", "kind": "Pod", "metadata": job["spec"]["template"]["metadata"],
        "status": {"phase": "Running", "containerStatuses": [{"name": "train", "image": "i", "imageID": "",
            "ready": true, "restartCount": 0, "state": {"running": {}}}]}});
    pod["metadata"]["name"] = json!(format!("{name}-running"));
    pod["metadata"]["namespace"] = json!("tenant");
    pod["metadata"]["ownerReferences"] = json!([{"apiVersion": "batch/v1", "kind": "Job", "name": name,
        "uid": job["metadata"]["uid"], "controller": true}]);
    api.put(PODS, pod);
    api.change(path, |job| {
        job["status"] = json!({"active": 1, "startTime": "2026-01-01T00:00:00Z"});
    });
}

/// A checker: pictures whose names begin with `missing` are not there.
pub fn check(api: &Api, path: &str, job: &Value) {
    if !job["status"].is_null() {
        return;
    }
    let name = job["metadata"]["labels"]["easel.dev/dataset"].as_str().unwrap();
    let dataset = api.get(&at(DATASETS, name)).unwrap();
    let items = dataset["spec"]["items"].as_array().cloned().unwrap_or_default();
    let names = items.iter().filter_map(|item| item["name"].as_str());
    let problems: Vec<Problem> = names
        .filter(|name| name.starts_with("missing"))
        .map(|name| Problem { name: name.to_owned(), reason: ProblemReason::Missing })
        .collect();
    let count = |count: usize| u32::try_from(count).unwrap();
    let checked = CheckedDataset {
        items: count(items.len()),
        enabled: count(items.len()),
        size_bytes: 2048,
        missing: count(problems.len()),
        problems,
        report: Some(format!("dataset/tenant/{name}.report.jsonl")),
        ..Default::default()
    };
    let result = serde_json::to_value(CheckResult::Checked(checked)).unwrap();
    end_job(api, path, "Complete", "", 0, &result);
}
