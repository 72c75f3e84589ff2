//! The training's state machine, case by case.

use easel_crds::{Dataset, Model};
use serde_json::{Value, json};

use super::super::inputs::Inputs;
use super::*;
use crate::children::Children;
use crate::endpoint::testing::settings;
use crate::training::build::testing::{job as built_job, valid};
use crate::training::build::{template, template_hash};

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(second).unwrap()
}

fn hash(valid: &ValidTraining) -> String {
    template_hash(valid, &template(valid, &settings()))
}

/// Base and pictures are there, and nothing has the output's name.
fn ready_inputs() -> Inputs {
    let ready = json!({"conditions": [{"type": "Ready", "status": "True", "reason": "R", "message": "",
        "observedGeneration": 1, "lastTransitionTime": "2026-01-01T00:00:00Z"}]});
    let base: Model = serde_json::from_value(json!({
        "apiVersion": "easel.dev/v1alpha1", "kind": "Model", "metadata": {"name": "m", "namespace": "tenant"},
        "spec": {"type": "Checkpoint", "source": {"objectStore": {"key": "k"}}}, "status": ready,
    }))
    .unwrap();
    let dataset: Dataset = serde_json::from_value(json!({
        "apiVersion": "easel.dev/v1alpha1", "kind": "Dataset", "spec": {},
        "metadata": {"name": "d", "namespace": "tenant", "generation": 1}, "status": ready,
    }))
    .unwrap();
    Inputs { base: Some(base), datasets: vec![("d".into(), Some(dataset))], output: None }
}

fn refs(jobs: &[Job], pods: &[Pod]) -> References {
    References {
        service_accounts: Children { live: Vec::new() },
        network_policies: Children { live: Vec::new() },
        jobs: Children { live: jobs.to_vec() },
        pods: pods.to_vec(),
        inputs: Some(ready_inputs()),
    }
}

/// The Job that this spec led to, as it is stored.
fn job(spec: &str) -> Job {
    let mut job = built_job(spec);
    job.metadata.uid = Some("job".into());
    job
}

fn ended(spec: &str, type_: &str, reason: &str) -> Job {
    let mut job = job(spec);
    job.status = serde_json::from_value(json!({"conditions": [{"type": type_, "status": "True",
        "reason": reason, "message": "said by the Job", "lastTransitionTime": at(1000).to_string()}]}))
    .unwrap();
    job
}

fn pod(phase: &str, exit: Option<(i32, Value)>) -> Pod {
    let state = match exit {
        Some((exit_code, message)) => {
            json!({"terminated": {"exitCode": exit_code, "message": message.to_string(),
            "finishedAt": "2026-01-01T00:00:00Z"}})
        }
        None => json!({"running": {}}),
    };
    serde_json::from_value(json!({
        "metadata": {"name": "p", "ownerReferences":
            [{"apiVersion": "batch/v1", "kind": "Job", "name": "j", "uid": "job"}]},
        "status": {"phase": phase, "containerStatuses": [{"name": "train", "image": "", "imageID": "",
            "ready": false, "restartCount": 0, "state": state}]},
    }))
    .unwrap()
}

fn status(value: Value) -> TrainingJobStatus {
    serde_json::from_value(value).unwrap()
}

fn condition(type_: &str, generation: i64) -> Value {
    json!({"type": type_, "status": "True", "reason": "R", "message": "", "observedGeneration": generation,
        "lastTransitionTime": "2026-01-01T00:00:00Z"})
}

fn decide(spec: &str, status: &TrainingJobStatus, refs: &References) -> Result<Plan, InvalidTraining> {
    let valid = valid(spec);
    plan(&valid, &hash(&valid), status, refs, at(2000))
}

/// A plan in a word and the Job that it keeps.
fn told(plan: &Plan) -> String {
    let word = match plan {
        Plan::Wait { reason, .. } => reason,
        Plan::Suspended { .. } => "Suspended",
        Plan::Queued { .. } => "Queued",
        Plan::Run { .. } => "Run",
        Plan::Store { .. } => "Store",
        Plan::Import { .. } => "Import",
        Plan::Complete { .. } => "Complete",
        Plan::Fail { .. } => "Fail",
        Plan::Failed { .. } => "Failed",
    };
    let job = if plan.job().is_some() { "with" } else { "without" };
    format!("{word} {job} Job, suspend {:?}", plan.suspend())
}

#[test]
fn a_training_starts_when_nothing_is_in_its_way() {
    let none = TrainingJobStatus::default();
    let start = decide("{}", &none, &refs(&[], &[])).unwrap();
    assert_eq!(told(&start), "Run with Job, suspend Some(false)");
    let name = start.job().unwrap().to_owned();
    assert!(name.starts_with("easel-train-t-") && name.len() <= 63, "{name}");
    assert_eq!(decide("{}", &none, &refs(&[], &[])).unwrap().job(), Some(name.as_str()), "always the same");

    let left = refs(&[], &[pod("Running", None)]);
    assert_eq!(told(&decide("{}", &none, &left).unwrap()), "Restarting without Job, suspend None");
    let over = refs(&[], &[pod("Failed", Some((1, json!("?"))))]);
    assert_eq!(told(&decide("{}", &none, &over).unwrap()), told(&start));
    let mut early = refs(&[], &[]);
    early.inputs = Some(Inputs { base: None, ..ready_inputs() });
    assert_eq!(told(&decide("{}", &none, &early).unwrap()), "WaitingForModel without Job, suspend None");
    let mut taken = refs(&[], &[]);
    taken.inputs = Some(Inputs { output: ready_inputs().base, ..ready_inputs() });
    assert_eq!(decide("{}", &none, &taken).unwrap_err().reason(), "OutputModelExists");
}

#[test]
fn suspend_is_said_to_the_job_unless_it_is_kueues_or_has_to_be_made_anew() {
    let held = |spec: &str, held: bool| {
        let mut job = job(spec);
        job.spec.as_mut().unwrap().suspend = Some(held);
        job
    };
    let cases = [
        ("no Job yet", "{suspend: true}", None, "Suspended without Job, suspend Some(true)"),
        ("runs", "{suspend: true}", Some(held("{}", false)), "Suspended with Job, suspend Some(true)"),
        ("resumes", "{}", Some(held("{}", true)), "Run with Job, suspend Some(false)"),
        (
            "runs, changed",
            "{nodeSelector: {a: b}}",
            Some(held("{}", false)),
            "Run with Job, suspend Some(false)",
        ),
        (
            "held, then changed",
            "{nodeSelector: {a: b}}",
            Some(held("{}", true)),
            "Restarting without Job, suspend None",
        ),
        (
            "held and changed",
            "{suspend: true, retries: 1}",
            Some(held("{}", true)),
            "Suspended without Job, suspend Some(true)",
        ),
        ("queue, no Job yet", "{queueName: q}", None, "Queued with Job, suspend None"),
        (
            "not admitted",
            "{queueName: q}",
            Some(held("{queueName: q}", true)),
            "Queued with Job, suspend None",
        ),
        (
            "admitted",
            "{queueName: q}",
            Some(held("{queueName: q}", false)),
            "Run with Job, suspend Some(false)",
        ),
        (
            "held by the user in a queue",
            "{queueName: q, suspend: true}",
            Some(held("{queueName: q}", false)),
            "Suspended without Job, suspend Some(true)",
        ),
    ];
    for (name, spec, job, want) in cases {
        let jobs: Vec<Job> = job.into_iter().collect();
        let plan = decide(spec, &TrainingJobStatus::default(), &refs(&jobs, &[])).unwrap();
        assert_eq!(told(&plan), want, "{name}");
    }
}

#[test]
fn the_end_of_the_job_decides() {
    let trained = json!({"Succeeded": {"file": {"name": "out.safetensors", "key": "k", "sha256": "a".repeat(64),
        "sizeBytes": 3}, "steps": 7, "loss": 0.5}});
    let report = json!({"Failed": {"reason": "OutOfMemory", "message": "m", "retriable": true}});
    let none = TrainingJobStatus::default();
    let store =
        decide("{}", &none, &refs(&[ended("{}", "Complete", "")], &[pod("Succeeded", Some((0, trained)))]));
    let Ok(Plan::Store { trained, at: when, .. }) = store else { panic!("{store:?}") };
    assert_eq!((trained.file.name.as_str(), trained.steps, when), ("out.safetensors", 7, at(1000)));
    let cases = [
        ("Complete", "", pod("Succeeded", Some((0, json!("?")))), "TrainingResultMissing"),
        ("Failed", "BackoffLimitExceeded", pod("Failed", Some((75, report.clone()))), "OutOfMemory"),
        ("Failed", "DeadlineExceeded", pod("Failed", Some((75, report))), "DeadlineExceeded"),
    ];
    for (type_, reason, pod, want) in cases {
        let plan = decide("{}", &none, &refs(&[ended("{}", type_, reason)], &[pod])).unwrap();
        let Plan::Fail { failure, job: Some(_), .. } = plan else { panic!("{plan:?}") };
        assert_eq!(failure.reason, want);
        if want == "DeadlineExceeded" {
            assert!(failure.message.contains("172800 s of spec.timeoutSeconds"), "{}", failure.message);
        }
    }
}

#[test]
fn what_is_over_is_not_run_again_unless_it_failed_and_changed() {
    let failed = status(json!({"conditions": [condition("Failed", 1)], "job": "j",
        "result": {"name": "n", "key": "k", "sha256": "a".repeat(64), "sizeBytes": 1}}));
    assert!(matches!(decide("{}", &failed, &refs(&[], &[])), Ok(Plan::Failed { .. })));
    let changed = |jobs: &[Job]| {
        let mut valid = valid("{}");
        valid.generation = 2;
        plan(&valid, &hash(&valid), &failed, &refs(jobs, &[]), at(2000)).unwrap()
    };
    let first = changed(&[]);
    let Plan::Run { job: next, .. } = &first else { panic!("{first:?}") };
    let former = ended("{}", "Failed", "BackoffLimitExceeded");
    assert_eq!(changed(std::slice::from_ref(&former)), first, "the Job of the former round does not count");
    let mut running = job("{}");
    running.metadata.annotations.as_mut().unwrap().insert(TRAINING_ROUND.into(), "2".into());
    running.metadata.name = Some(next.clone());
    assert_eq!(changed(&[former, running]).job(), Some(next.as_str()), "that of this round goes on");

    for generation in [1, 9] {
        let complete = status(json!({"conditions": [condition("Complete", generation)]}));
        let plan = decide("{}", &complete, &refs(&[], &[])).unwrap();
        assert_eq!(told(&plan), "Complete without Job, suspend None");
    }
}

#[test]
fn a_result_becomes_a_model_before_the_training_is_complete() {
    let trained = status(json!({"job": "j", "completionTime": at(1500).to_string(),
        "result": {"name": "n", "key": "k", "sha256": "a".repeat(64), "sizeBytes": 1}}));
    let with = |model: Option<Value>| {
        let mut refs = refs(&[], &[]);
        let output = model.map(|model| serde_json::from_value(model).unwrap());
        refs.inputs = Some(Inputs { output, ..Inputs::default() });
        decide("{}", &trained, &refs)
    };
    let model = |status: Value| {
        json!({"apiVersion": "easel.dev/v1alpha1", "kind": "Model",
            "metadata": {"name": "out", "namespace": "tenant", "labels": {"easel.dev/training-job": "t"}},
            "spec": {"type": "Lora", "source": {"trainingJob": {"name": "t"}}}, "status": status})
    };
    let of = |reason: &str, conditions: &[&str]| {
        let all = ["Ready", "Stalled"].map(|type_| {
            let status = if conditions.contains(&type_) { "True" } else { "False" };
            json!({"type": type_, "status": status, "reason": reason, "message": "why",
                "lastTransitionTime": "2026-01-01T00:00:00Z"})
        });
        json!({"conditions": all, "files": [{"name": "n", "key": "k", "sha256": "a".repeat(64), "sizeBytes": 1}]})
    };
    assert!(matches!(with(None), Ok(Plan::Import { make: true, .. })));
    let waits = with(Some(model(of("Importing", &[]))));
    assert!(
        matches!(&waits, Ok(Plan::Import { make: false, why, .. }) if why.contains("(Importing)")),
        "{waits:?}"
    );
    assert!(matches!(with(Some(model(of("Imported", &["Ready"])))), Ok(Plan::Complete { .. })));
    let Ok(Plan::Fail { failure, .. }) = with(Some(model(of("BadHeader", &["Stalled"])))) else { panic!() };
    assert_eq!((failure.reason.as_str(), failure.retriable), ("BadHeader", false));
    let mut foreign = model(of("Imported", &["Ready"]));
    foreign["metadata"]["labels"] = json!({});
    assert_eq!(with(Some(foreign)).unwrap_err().reason(), "OutputModelExists");
}

#[test]
fn the_job_stays_for_its_logs_as_long_as_asked() {
    let complete = status(json!({"conditions": [condition("Complete", 1)], "job": "j",
        "completionTime": at(1500).to_string()}));
    let cases = [
        ("{ttlSecondsAfterFinished: 600}", Some("j"), Some(100)),
        ("{ttlSecondsAfterFinished: 500}", None, None),
    ];
    for (spec, job, wait) in cases {
        let plan = decide(spec, &complete, &refs(&[], &[])).unwrap();
        let seconds = plan.wait(at(2000)).map(|wait| wait.as_secs());
        assert_eq!((plan.job(), seconds), (job, wait), "{spec}");
    }
}

#[test]
fn a_running_job_says_what_its_pods_do() {
    let report = json!({"Failed": {"reason": "StoreUnreachable", "message": "m", "retriable": true}});
    let failed = || pod("Failed", Some((75, report.clone())));
    let run = |pods: &[Pod]| match decide("{}", &TrainingJobStatus::default(), &refs(&[job("{}")], pods)) {
        Ok(Plan::Run { begun, trouble, failed, .. }) => (begun, trouble.is_some(), failed.is_some()),
        other => panic!("{other:?}"),
    };
    assert_eq!(run(&[]), (false, false, false));
    assert_eq!(run(&[pod("Running", None)]), (true, false, false));
    assert_eq!(run(&[failed()]), (false, true, true), "between two attempts");
    assert_eq!(run(&[failed(), pod("Running", None)]), (true, false, true), "at the second attempt");
}
