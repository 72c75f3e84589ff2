//! Datasets: checked, looked at again, held back.

use k8s_openapi::jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use crate::api::Api;
use crate::fixture::{DATASETS, JOBS, TRAININGS, at, condition, dataset, ready, training};
use crate::process::{Process, settle};
use crate::world::{end_job, step};

fn found(api: &Api) -> Value {
    api.get(&at(DATASETS, "d")).unwrap()
}

fn items(api: &Api, names: &[&str]) {
    let items: Vec<Value> = names.iter().map(|name| json!({"name": name})).collect();
    api.change(&at(DATASETS, "d"), |dataset| dataset["spec"]["items"] = json!(items));
}

#[tokio::test]
async fn a_set_is_ready_once_its_pictures_were_looked_at_and_again_when_they_change() {
    let api = Api::default();
    api.put(DATASETS, dataset("d"));
    Process::start(&api, "").look(&api, Timestamp::now()).await;
    assert_eq!(ready(&found(&api)), "False:Checking");
    assert_eq!(api.all(JOBS).len(), 1);
    settle(&api).await;
    let set = found(&api);
    assert_eq!(ready(&set), "True:Checked");
    let status = &set["status"];
    assert_eq!((&status["itemCount"], &status["sizeBytes"]), (&json!(2), &json!(2048)));
    assert_eq!(status["report"], "dataset/tenant/d.report.jsonl");
    assert_eq!(status["conditions"][0]["message"], "2 pictures, 2.0 KiB");
    assert_eq!(api.all(JOBS).len(), 0);

    api.change(&at(DATASETS, "d"), |set| set["spec"]["items"][0]["caption"] = json!("zorb"));
    Process::start(&api, "").look(&api, Timestamp::now()).await;
    assert_eq!(ready(&found(&api)), "True:Checked", "a caption is not in the store");
    items(&api, &["a.png", "b.png", "c.png"]);
    Process::start(&api, "").look(&api, Timestamp::now()).await;
    assert_eq!(ready(&found(&api)), "False:Checking");
    settle(&api).await;
    assert_eq!(found(&api)["status"]["itemCount"], 3);
}

#[tokio::test]
async fn missing_pictures_are_named_and_looked_for_again() {
    let api = Api::default();
    api.put(DATASETS, dataset("d"));
    items(&api, &["a.png", "missing.png"]);
    let process = Process::start(&api, "");
    let ended: Timestamp = "2026-01-01T00:00:00Z".parse().unwrap();
    let look = async |seconds: i64| {
        process.look(&api, ended + SignedDuration::from_secs(seconds)).await;
        step(&api);
    };
    look(0).await;
    look(1).await;
    let set = found(&api);
    assert_eq!(ready(&set), "False:ItemsMissing");
    assert_eq!(
        (condition(&set, "Reconciling").0, condition(&set, "Stalled").0),
        ("True".into(), "False".into())
    );
    assert_eq!(set["status"]["problems"], json!([{"name": "missing.png", "reason": "Missing"}]));
    let first = api.all(JOBS)[0].0.clone();
    look(29).await;
    assert_eq!(api.all(JOBS)[0].0, first, "not yet");
    process.look(&api, ended + SignedDuration::from_secs(31)).await;
    let jobs = api.all(JOBS);
    assert_eq!((jobs.len(), jobs[0].0 == first), (1, false), "a new round in the place of the first");
    assert_eq!(ready(&found(&api)), "False:ItemsMissing", "a look does not make it right");
    // Meanwhile it was uploaded.
    let checked = json!({"Checked": {"items": 2, "enabled": 2, "sizeBytes": 9, "missing": 0, "invalid": 0,
        "duplicates": 0, "problems": [], "report": null}});
    end_job(&api, &jobs[0].0, "Complete", "", 0, &checked);
    look(32).await;
    look(33).await;
    assert_eq!(ready(&found(&api)), "True:Checked");
    assert!(found(&api)["status"]["problems"].is_null());
    assert_eq!(api.all(JOBS).len(), 0);
}

#[tokio::test]
async fn nothing_is_checked_before_it_is_enabled_or_without_pictures() {
    let api = Api::default();
    api.put(DATASETS, dataset("d"));
    api.change(&at(DATASETS, "d"), |set| set["spec"]["state"] = json!("Disabled"));
    settle(&api).await;
    let set = found(&api);
    assert_eq!((ready(&set).as_str(), condition(&set, "Stalled").0.as_str()), ("False:Disabled", "False"));
    assert_eq!(api.all(JOBS).len(), 0);
    api.change(&at(DATASETS, "d"), |set| set["spec"] = json!({"state": "Enabled"}));
    settle(&api).await;
    assert_eq!(ready(&found(&api)), "False:NoItems");
    items(&api, &["a.png"]);
    settle(&api).await;
    assert_eq!(ready(&found(&api)), "True:Checked");
}

#[tokio::test]
async fn a_check_that_fails_for_good_says_why_and_is_repeated_when_its_job_is_deleted() {
    let api = Api::default();
    api.put(DATASETS, dataset("d"));
    let process = Process::start(&api, "");
    process.look(&api, Timestamp::now()).await;
    let path = api.all(JOBS)[0].0.clone();
    let report =
        json!({"Failed": {"reason": "InvalidManifest", "message": "line 3 is no item", "retriable": false}});
    end_job(&api, &path, "Failed", "PodFailurePolicy", 65, &report);
    process.look(&api, Timestamp::now()).await;
    let set = found(&api);
    assert_eq!(
        (ready(&set).as_str(), condition(&set, "Stalled").0.as_str()),
        ("False:InvalidManifest", "True")
    );
    assert_eq!(set["status"]["lastFailure"]["exitCode"], 65);
    assert_eq!(api.all(JOBS)[0].0, path, "kept for its logs");
    api.remove(&path);
    settle(&api).await;
    assert_eq!(ready(&found(&api)), "True:Checked");
}

#[tokio::test]
async fn a_set_names_the_trainings_that_are_not_through() {
    let api = Api::default();
    api.put(DATASETS, dataset("d"));
    api.put(TRAININGS, training("t", "not-there"));
    settle(&api).await;
    assert_eq!(found(&api)["status"]["usedBy"], json!([{"kind": "TrainingJob", "name": "t"}]));
    api.remove(&at(TRAININGS, "t"));
    settle(&api).await;
    assert!(found(&api)["status"]["usedBy"].is_null());
}
