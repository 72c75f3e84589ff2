//! The import's state machine, case by case.

use easel_crds::ModelStatus;
use easel_protocol::import::{ImportResult, ImportedFile, MAX_FILES, weights_key};
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::jiff::Timestamp;
use kube::ResourceExt;
use serde_json::{Value, json};

use super::*;
use crate::children::sha256_hex;
use crate::model::build::testing::{job as built_job, model};
use crate::model::inputs::InputState;
use crate::model::validate;

const HTTP: &str = "{http: {url: \"https://example.com/a\"}}";

fn valid() -> ValidModel {
    validate(&model(HTTP)).unwrap()
}

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(second).unwrap()
}

/// The Job of a round as it is stored, with this status.
fn job(round: u32, status: Value) -> Job {
    let valid = valid();
    let mut job = built_job(&valid, round);
    job.metadata.uid = Some(format!("job-{round}"));
    job.status = serde_json::from_value(status).unwrap();
    job
}

fn ended(type_: &str, reason: &str, second: i64) -> Value {
    json!({"conditions": [{"type": type_, "status": "True", "reason": reason, "message": "said by the Job",
        "lastTransitionTime": at(second).to_string()}]})
}

fn pod(round: u32, exit_code: i32, message: &Value) -> Pod {
    serde_json::from_value(json!({
        "metadata": {"name": "p", "ownerReferences":
            [{"apiVersion": "batch/v1", "kind": "Job", "name": "j", "uid": format!("job-{round}")}]},
        "status": {"containerStatuses": [{"name": "import", "image": "", "imageID": "", "ready": false,
            "restartCount": 0, "state": {"terminated": {"exitCode": exit_code,
                "message": message.to_string(), "finishedAt": "2026-01-01T00:00:00Z"}}}]},
    }))
    .unwrap()
}

fn decide(valid: &ValidModel, status: Option<&ModelStatus>, jobs: &[Job], pods: &[Pod], now: i64) -> Plan {
    plan(valid, status, &Children { live: jobs.to_vec() }, pods, &[], at(now)).unwrap()
}

fn failed_report(retriable: bool) -> Value {
    json!({"Failed": {"reason": "SourceNotFound", "message": "404", "retriable": retriable}})
}

#[test]
fn a_merge_waits_for_its_models_and_not_once_it_runs() {
    let merge = validate(&model("{merge: {method: WeightedSum, models: [{name: a}, {name: b}]}}")).unwrap();
    let input = |state| vec![Input { name: "a".into(), state }];
    let decide = |inputs: &[Input], jobs: &[Job]| {
        plan(&merge, None, &Children { live: jobs.to_vec() }, &[], inputs, at(0))
    };
    let missing = input(InputState::Missing);
    let waits = Plan::WaitForModels("Model a does not exist".to_owned());
    assert_eq!(decide(&missing, &[]), Ok(waits));
    assert!(matches!(decide(&input(InputState::Ready), &[]), Ok(Plan::Run { round: 1, .. })));
    let unfit = input(InputState::Unfit { model_type: "Lora", weight_files: 1 });
    assert_eq!(decide(&unfit, &[]).unwrap_err().reason(), "UnfitInput");
    let mut running = built_job(&merge, 1);
    running.metadata.uid = Some("job-1".into());
    assert!(matches!(decide(&missing, &[running]), Ok(Plan::Run { .. })), "it has what it needs by now");
}

#[test]
fn without_a_job_the_first_round_starts_unless_there_is_a_reason_to_wait() {
    let plain = valid();
    let Plan::Run { job: name, round: 1, trouble: None } = decide(&plain, None, &[], &[], 0) else {
        panic!("the first round does not start")
    };
    assert!(name.starts_with("easel-import-m-"), "{name}");
    let suspended = ValidModel { suspended: true, ..plain.clone() };
    assert_eq!(decide(&suspended, None, &[], &[], 0), Plan::Suspended);
    let waiting = ValidModel { awaits_upload: true, ..plain.clone() };
    assert_eq!(decide(&waiting, None, &[], &[], 0), Plan::WaitForUpload);
    let file = json!({"name": "a", "key": "k", "sha256": "s", "sizeBytes": 1});
    let stored: ModelStatus =
        serde_json::from_value(json!({"files": [file], "sourceHash": plain.source_hash})).unwrap();
    assert_eq!(decide(&suspended, Some(&stored), &[], &[], 0), Plan::Done);
    let of_another = ModelStatus { source_hash: Some("other".into()), ..stored };
    assert!(matches!(decide(&plain, Some(&of_another), &[], &[], 0), Plan::Run { .. }));
}

#[test]
fn jobs_of_another_source_or_another_uid_do_not_count() {
    let valid = valid();
    let mut other_source = job(3, json!({}));
    other_source.annotations_mut().insert(SOURCE_HASH.into(), "other".into());
    let mut foreign = job(4, json!({}));
    foreign.metadata.owner_references = None;
    let decided = decide(&valid, None, &[other_source, foreign], &[], 0);
    assert!(matches!(decided, Plan::Run { round: 1, .. }), "{decided:?}");
}

/// What an importer found that fetched so many files.
fn imported(files: usize) -> ImportedModel {
    let file = |at: usize| {
        let sha256 = sha256_hex(&at.to_le_bytes());
        let name = format!("unet/diffusion_pytorch_model-{at:05}-of-00064.safetensors");
        ImportedFile { name, key: weights_key(&sha256), sha256, size_bytes: 4_900_000_000 + at as u64 * 7919 }
    };
    ImportedModel { files: (0..files).map(file).collect(), family: "Sdxl".into(), ..Default::default() }
}

#[test]
fn a_success_is_stored_only_with_its_result() {
    let imported = imported(MAX_FILES);
    let message = serde_json::to_value(ImportResult::Succeeded(imported.clone())).unwrap();
    assert!(message.to_string().len() <= 4096, "as many files as a Model may have");
    let done = job(1, ended("Complete", "", 100));
    let good = pod(1, 0, &message);
    let Plan::Store { imported: read, round: 1, .. } =
        decide(&valid(), None, std::slice::from_ref(&done), &[good], 110)
    else {
        panic!("the result is not stored")
    };
    assert_eq!(read, imported);
    let empty = serde_json::to_value(ImportResult::Succeeded(ImportedModel::default())).unwrap();
    let without = [vec![], vec![pod(1, 0, &json!("?"))], vec![pod(1, 0, &empty)], vec![pod(2, 0, &message)]];
    for pods in without {
        let Plan::BackOff { failure, .. } = decide(&valid(), None, std::slice::from_ref(&done), &pods, 110)
        else {
            panic!("a lost result is not tried again")
        };
        assert_eq!((failure.reason.as_str(), failure.retriable), ("ImportResultMissing", true));
    }
}

#[test]
fn retriable_failures_start_new_rounds_with_growing_waits() {
    let waits: Vec<i64> = (1..=7)
        .map(|round| {
            let failed = job(round, ended("Failed", "BackoffLimitExceeded", 1000));
            let pods = [pod(round, 75, &failed_report(true))];
            let Plan::BackOff { until, failure, .. } =
                decide(&valid(), None, std::slice::from_ref(&failed), &pods, 1000)
            else {
                panic!("round {round} is not followed by another")
            };
            assert_eq!(failure.reason, "SourceNotFound");
            let after = decide(&valid(), None, &[failed], &pods, until.as_second());
            let Plan::Run { round: next, job: name, .. } = after else { panic!("{after:?}") };
            assert_eq!(next, round + 1);
            assert_ne!(name, job_of(&valid(), round));
            until.as_second() - 1000
        })
        .collect();
    assert_eq!(waits, [30, 60, 120, 240, 480, 960, 1800]);
}

#[test]
fn permanent_failures_and_the_last_round_stay() {
    let pods = |code, retriable| [pod(1, code, &failed_report(retriable))];
    let policy = job(1, ended("Failed", "PodFailurePolicy", 0));
    let cases = [
        ("the policy ended it", policy.clone(), pods(65, false).to_vec(), "SourceNotFound"),
        ("the policy overrules the report", policy.clone(), pods(65, true).to_vec(), "SourceNotFound"),
        ("the policy ended it, the pod is gone", policy, vec![], "PodFailurePolicy"),
        (
            "the last round",
            job(8, ended("Failed", "BackoffLimitExceeded", 0)),
            vec![],
            "BackoffLimitExceeded",
        ),
    ];
    for (name, job, pods, reason) in cases {
        let decided = decide(&valid(), None, &[job], &pods, 1_000_000);
        let Plan::Stuck { failure, .. } = decided else { panic!("{name}: {decided:?}") };
        assert_eq!(failure.reason, reason, "{name}");
    }
}

#[test]
fn names_of_jobs_fit_a_label_and_differ() {
    let mut long = valid();
    long.owner.name = "n".repeat(45);
    let names: Vec<String> = (1..4).map(|round| job_of(&long, round)).collect();
    assert!(names.iter().all(|name| name.len() <= 63), "{names:?}");
    assert_ne!(names[0], names[1]);
    assert_eq!(names[0], job_of(&long, 1));
}
