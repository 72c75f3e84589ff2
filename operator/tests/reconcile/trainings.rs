//! Trainings from start to end.

use easel_protocol::FailureReport;
use easel_protocol::training::TrainResult;
use k8s_openapi::jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use crate::api::Api;
use crate::fixture::{
    DATASETS, EVENTS, JOBS, MODELS, PODS, TRAININGS, at, condition, model, model_dataset_and_training, ready,
    stored_model, training,
};
use crate::process::{Process, settle};
use crate::trainer::{ENDLESS, FAILS, end, trained};
use crate::world::step;

fn found(api: &Api) -> Value {
    api.get(&at(TRAININGS, "t")).unwrap()
}

fn set(api: &Api, field: &str, value: Value) {
    api.change(&at(TRAININGS, "t"), |training| training["spec"][field] = value);
}

fn order(api: &Api, steps: u64) {
    set(api, "hyperparameters", json!({"steps": steps, "resolution": 512}));
}

async fn look(api: &Api) {
    Process::start(api, "").look(api, Timestamp::now()).await;
}

fn jobs(api: &Api) -> Vec<(String, Value)> {
    api.all(JOBS).into_iter().filter(|(path, _)| path.contains("easel-train-")).collect()
}

fn stands(training: &Value, type_: &str) -> bool {
    condition(training, type_).0 == "True"
}

/// A training whose trainer runs without an end.
async fn running() -> Api {
    let api = Api::default();
    model_dataset_and_training(&api);
    order(&api, ENDLESS);
    settle(&api).await;
    assert_eq!(ready(&found(&api)), "False:Running");
    api
}

#[tokio::test]
async fn a_training_waits_for_what_it_needs_and_ends_in_a_model() {
    let api = Api::default();
    api.put(TRAININGS, training("t", "m"));
    look(&api).await;
    assert_eq!(ready(&found(&api)), "False:WaitingForModel");
    api.put(MODELS, stored_model("m"));
    settle(&api).await;
    assert_eq!(ready(&found(&api)), "False:WaitingForDataset");
    assert_eq!(jobs(&api).len(), 0);
    api.put(DATASETS, crate::fixture::dataset("d"));
    settle(&api).await;

    let done = found(&api);
    assert_eq!(ready(&done), "True:Complete");
    assert!(stands(&done, "Complete") && !stands(&done, "Failed") && !stands(&done, "Reconciling"));
    let status = &done["status"];
    assert_eq!((&status["outputModel"]["name"], &status["attempts"]), (&json!("out"), &json!(1)));
    assert_eq!(status["result"]["sha256"], "a".repeat(64));
    assert_eq!(status["startTime"], "2026-01-01T00:00:00Z");
    assert_eq!(status["completionTime"], "2026-01-01T00:00:00Z");
    let out = api.get(&at(MODELS, "out")).unwrap();
    assert_eq!(ready(&out), "True:Imported");
    assert_eq!(out["spec"]["type"], "Lora");
    assert_eq!(out["spec"]["displayName"], "out.safetensors");
    assert_eq!(out["spec"]["source"], json!({"trainingJob": {"name": "t"}}));
    assert_eq!(out["metadata"]["labels"]["easel.dev/training-job"], "t");
    assert!(out["metadata"]["ownerReferences"].is_null(), "it outlives the TrainingJob");
    let told = |reason: &str| api.all(EVENTS).iter().any(|(_, event)| event["reason"] == reason);
    assert!(told("WaitingForModel") && told("Pending") && told("Importing") && told("Complete"));

    api.remove(&at(TRAININGS, "t"));
    settle(&api).await;
    assert_eq!(ready(&api.get(&at(MODELS, "out")).unwrap()), "True:Imported", "also without its TrainingJob");
}

#[tokio::test]
async fn the_job_goes_when_its_time_is_over_and_the_training_is_not_run_again() {
    let api = Api::default();
    model_dataset_and_training(&api);
    set(&api, "ttlSecondsAfterFinished", json!(3600));
    let ended: Timestamp = "2026-01-01T00:00:00Z".parse().unwrap();
    let process = Process::start(&api, "");
    for second in 0..12 {
        process.look(&api, ended + SignedDuration::from_secs(second)).await;
        step(&api);
    }
    assert_eq!(ready(&found(&api)), "True:Complete");
    assert_eq!(jobs(&api).len(), 1, "kept for its logs");
    process.look(&api, ended + SignedDuration::from_secs(3601)).await;
    assert_eq!(jobs(&api).len(), 0);
    for change in ["suspend", "retries"] {
        set(&api, change, if change == "suspend" { json!(true) } else { json!(7) });
        settle(&api).await;
        assert_eq!((ready(&found(&api)).as_str(), jobs(&api).len()), ("True:Complete", 0), "{change}");
    }
}

#[tokio::test]
async fn a_result_is_read_before_its_job_is_deleted() {
    let api = Api::default();
    model_dataset_and_training(&api);
    set(&api, "ttlSecondsAfterFinished", json!(0));
    settle(&api).await;
    assert_eq!((ready(&found(&api)).as_str(), jobs(&api).len()), ("True:Complete", 0));
}

#[tokio::test]
async fn suspending_holds_the_job_and_resuming_lets_the_same_one_go_on() {
    let api = running().await;
    let (path, before) = jobs(&api).pop().unwrap();
    set(&api, "suspend", json!(true));
    settle(&api).await;
    let held = found(&api);
    assert_eq!(condition(&held, "Suspended"), ("True".into(), "SuspendedByUser".into()));
    assert_eq!(ready(&held), "False:SuspendedByUser");
    assert!(!stands(&held, "Reconciling") && !stands(&held, "Stalled"));
    let job = api.get(&path).unwrap();
    assert_eq!(job["spec"]["suspend"], true);
    assert_eq!(job["spec"]["template"], before["spec"]["template"]);
    assert_eq!(api.all(PODS).iter().filter(|(path, _)| path.contains("running")).count(), 0);
    api.take_writes();
    look(&api).await;
    assert_eq!(api.take_writes(), Vec::<String>::new());

    set(&api, "suspend", json!(false));
    settle(&api).await;
    assert_eq!(ready(&found(&api)), "False:Running");
    assert_eq!(api.get(&path).unwrap()["metadata"]["uid"], before["metadata"]["uid"]);
}

#[tokio::test]
async fn what_was_changed_while_it_was_held_is_in_the_job_that_goes_on() {
    let api = running().await;
    let former = jobs(&api)[0].0.clone();
    set(&api, "nodeSelector", json!({"pool": "gpu"}));
    settle(&api).await;
    assert_eq!(jobs(&api)[0].0, former, "a job that runs is left alone");
    set(&api, "suspend", json!(true));
    settle(&api).await;
    assert_eq!(jobs(&api).len(), 0);
    set(&api, "suspend", json!(false));
    settle(&api).await;
    let (path, job) = jobs(&api).pop().unwrap();
    assert_ne!(path, former);
    assert_eq!(job["spec"]["template"]["spec"]["nodeSelector"]["pool"], "gpu");
    assert_eq!(found(&api)["status"]["attempts"], 2);
}

#[tokio::test]
async fn kueue_alone_decides_when_a_job_with_a_queue_runs() {
    let api = Api::default();
    model_dataset_and_training(&api);
    order(&api, ENDLESS);
    set(&api, "queueName", json!("gpus"));
    settle(&api).await;
    let waiting = found(&api);
    assert_eq!(condition(&waiting, "Suspended"), ("True".into(), "WaitingForQueue".into()));
    assert!(stands(&waiting, "Reconciling"));
    let (path, job) = jobs(&api).pop().unwrap();
    assert_eq!(job["metadata"]["labels"]["kueue.x-k8s.io/queue-name"], "gpus");
    assert_eq!(job["spec"]["suspend"], true);
    for (admitted, want) in
        [(true, "False:Running"), (false, "False:WaitingForQueue"), (true, "False:Running")]
    {
        api.change(&path, |job| job["spec"]["suspend"] = json!(!admitted));
        api.take_writes();
        settle(&api).await;
        assert_eq!(ready(&found(&api)), want);
        assert_eq!(api.get(&path).unwrap()["spec"]["suspend"], !admitted);
        let written: Vec<String> = api.take_writes().into_iter().filter(|w| w.contains("/jobs/")).collect();
        assert_eq!(written, Vec::<String>::new());
    }
    set(&api, "suspend", json!(true));
    settle(&api).await;
    assert_eq!(jobs(&api).len(), 0, "a job of Kueue's is taken away to hold it");
    assert_eq!(ready(&found(&api)), "False:SuspendedByUser");
    set(&api, "suspend", json!(false));
    settle(&api).await;
    assert_eq!((ready(&found(&api)).as_str(), jobs(&api).len()), ("False:WaitingForQueue", 1));
}

#[tokio::test]
async fn a_failed_training_rests_until_its_spec_changes_and_then_goes_on() {
    let api = Api::default();
    model_dataset_and_training(&api);
    order(&api, FAILS);
    settle(&api).await;
    let failed = found(&api);
    assert_eq!(ready(&failed), "False:NoPictures");
    assert!(stands(&failed, "Failed") && stands(&failed, "Stalled") && !stands(&failed, "Complete"));
    let message = failed["status"]["conditions"][0]["message"].as_str().unwrap();
    assert!(message.contains("nothing to train on") && message.contains("change the spec"), "{message}");
    let failure = &failed["status"]["lastFailure"];
    assert_eq!((&failure["reason"], &failure["exitCode"]), (&json!("NoPictures"), &json!(65)));
    assert_eq!(failed["status"]["completionTime"], "2026-01-01T00:00:00Z");
    let before = failed["status"]["job"].clone();
    look(&api).await;
    assert_eq!(found(&api)["status"], failed["status"], "it rests");
    assert!(api.get(&at(MODELS, "out")).is_none());

    // Held first, as the rules ask for it, then changed.
    set(&api, "suspend", json!(true));
    settle(&api).await;
    let held = found(&api);
    assert_eq!(ready(&held), "False:SuspendedByUser");
    assert!(!stands(&held, "Failed") && held["status"]["completionTime"].is_null());
    order(&api, 1);
    set(&api, "suspend", json!(false));
    settle(&api).await;
    let done = found(&api);
    assert_eq!((ready(&done).as_str(), &done["status"]["attempts"]), ("True:Complete", &json!(2)));
    assert_ne!(done["status"]["job"], before);
    assert_eq!(done["status"]["lastFailure"]["reason"], "NoPictures", "kept until the next failure");
}

#[tokio::test]
async fn a_failure_that_may_pass_is_told_while_the_job_repeats_it() {
    let api = running().await;
    let (path, _) = jobs(&api).pop().unwrap();
    let pod = api.all(PODS).into_iter().find(|(path, _)| path.contains("running")).unwrap().0;
    api.change(&pod, |pod| {
        pod["status"]["phase"] = json!("Failed");
        pod["status"]["containerStatuses"][0]["ready"] = json!(false);
        pod["status"]["containerStatuses"][0]["state"] = json!({"terminated": {"exitCode": 1,
            "message": "line 1\nthe device fell off", "finishedAt": "2025-12-31T23:00:00Z"}});
    });
    api.change(&path, |job| job["status"] = json!({"failed": 1, "active": 0}));
    look(&api).await;
    let training = found(&api);
    assert_eq!(ready(&training), "False:ContainerFailed");
    assert!(stands(&training, "Reconciling") && !stands(&training, "Failed"));
    let message = training["status"]["lastFailure"]["message"].as_str().unwrap();
    assert!(message.contains("line 1\nthe device fell off"), "the last log lines: {message}");
    let warned =
        api.all(EVENTS).iter().any(|(_, e)| e["reason"] == "ContainerFailed" && e["type"] == "Warning");
    assert!(warned);

    let report = FailureReport::new("StoreUnreachable", "no answer", true);
    end(&api, &path, "Failed", "BackoffLimitExceeded", 75, &TrainResult::Failed(report));
    settle(&api).await;
    let failed = found(&api);
    assert!(stands(&failed, "Failed"));
    assert_eq!(
        (ready(&failed).as_str(), &failed["status"]["attempts"]),
        ("False:StoreUnreachable", &json!(1))
    );
}

#[tokio::test]
async fn the_trainers_reports_are_neither_overwritten_nor_a_reason_to_write() {
    let api = running().await;
    api.change(&at(TRAININGS, "t"), |training| {
        training["status"]["stage"] = json!("Training");
        training["status"]["step"] = json!(7);
        training["status"]["loss"] = json!("0.5");
    });
    look(&api).await;
    assert_eq!(ready(&found(&api)), "False:Training");
    api.change(&at(TRAININGS, "t"), |training| training["status"]["step"] = json!(8));
    api.take_writes();
    look(&api).await;
    assert_eq!(api.take_writes(), Vec::<String>::new(), "a step costs no write");
    let (path, _) = jobs(&api).pop().unwrap();
    end(&api, &path, "Complete", "", 0, &trained("a"));
    settle(&api).await;
    let done = found(&api);
    assert_eq!(ready(&done), "True:Complete");
    assert_eq!((&done["status"]["step"], &done["status"]["loss"]), (&json!(8), &json!("0.5")));
}

#[tokio::test]
async fn a_foreign_model_of_the_outputs_name_is_left_alone() {
    let api = Api::default();
    model_dataset_and_training(&api);
    api.put(MODELS, stored_model("out"));
    settle_stalled(&api).await;
    let stalled = found(&api);
    assert_eq!(condition(&stalled, "Stalled"), ("True".into(), "OutputModelExists".into()));
    assert_eq!(jobs(&api).len(), 0);
    let foreign = api.get(&at(MODELS, "out")).unwrap();
    assert!(foreign["spec"]["source"]["objectStore"].is_object() && foreign["metadata"]["labels"].is_null());
    api.remove(&at(MODELS, "out"));
    settle(&api).await;
    assert_eq!(ready(&found(&api)), "True:Complete");
}

#[tokio::test]
async fn only_checkpoints_are_trained_from() {
    let api = Api::default();
    model_dataset_and_training(&api);
    api.change(&at(MODELS, "m"), |model| model["spec"]["type"] = json!("Lora"));
    settle_stalled(&api).await;
    assert_eq!(condition(&found(&api), "Stalled"), ("True".into(), "UnfitModel".into()));
}

#[tokio::test]
async fn a_result_that_is_no_model_fails_the_training_with_the_models_words() {
    let api = Api::default();
    model_dataset_and_training(&api);
    let process = Process::start(&api, "");
    for _ in 0..8 {
        process.look(&api, Timestamp::now()).await;
        let import = api.all(JOBS).into_iter().find(|(path, _)| path.contains("easel-import-out"));
        if let Some((path, job)) = import.filter(|(_, job)| job["status"].is_null()) {
            assert_eq!(job["spec"]["backoffLimit"], 3);
            let report =
                json!({"Failed": {"reason": "InvalidHeader", "message": "no header", "retriable": false}});
            crate::world::end_job(&api, &path, "Failed", "PodFailurePolicy", 65, &report);
        }
        step(&api);
    }
    let failed = found(&api);
    assert_eq!(ready(&failed), "False:InvalidHeader");
    assert!(stands(&failed, "Failed"));
    let message = failed["status"]["lastFailure"]["message"].as_str().unwrap();
    assert!(message.starts_with("Model out cannot be made of the result"), "{message}");
    assert_eq!(failed["status"]["result"]["sha256"], "a".repeat(64), "the file is there");
}

#[tokio::test]
async fn a_model_of_a_training_without_a_result_waits_and_says_for_what() {
    let api = Api::default();
    api.put(MODELS, model("n", &json!({"trainingJob": {"name": "nobody"}})));
    look(&api).await;
    let waiting = api.get(&at(MODELS, "n")).unwrap();
    assert_eq!(ready(&waiting), "False:WaitingForTraining");
    let message = waiting["status"]["conditions"][0]["message"].as_str().unwrap();
    assert!(message.contains("TrainingJob nobody does not exist"), "{message}");
    assert_eq!(api.all(JOBS).len(), 0);
}

#[tokio::test]
async fn what_is_trained_again_is_imported_again() {
    let api = Api::default();
    model_dataset_and_training(&api);
    settle(&api).await;
    api.remove(&at(TRAININGS, "t"));
    api.put(TRAININGS, training("t", "m"));
    let process = Process::start(&api, "");
    process.look(&api, Timestamp::now()).await;
    let out = || api.get(&at(MODELS, "out")).unwrap();
    let former = out()["status"]["sourceHash"].clone();
    assert_eq!(ready(&out()), "True:Imported", "what is there serves until there is another");
    let (path, _) = jobs(&api).pop().expect("the same Model may be made again");
    end(&api, &path, "Complete", "", 0, &trained("b"));
    process.look(&api, Timestamp::now()).await;
    process.look(&api, Timestamp::now()).await;
    assert_eq!(ready(&found(&api)), "False:Importing", "a former result is not this one");
    assert_ne!(out()["status"]["sourceHash"], json!(null));
    assert_eq!(ready(&out()), "False:Importing");
    assert_eq!(out()["status"]["sourceHash"], former, "until the new files are stored");
}

/// Until nothing changes, although reconciles fail for good.
async fn settle_stalled(api: &Api) {
    for _ in 0..8 {
        look(api).await;
        step(api);
    }
}
