//! Imports from start to end.

use k8s_openapi::jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use crate::api::Api;
use crate::fixture::{CLAIMS, JOBS, MODELS, at, condition, endpoint, model, ready, stored_model};
use crate::process::{Process, settle};
use crate::world::end_job;

fn http() -> Value {
    json!({"http": {"url": "https://example.com/a.safetensors"}})
}

fn found(api: &Api) -> Value {
    api.get(&at(MODELS, "m")).unwrap()
}

/// A Model whose first import Job was just made.
async fn importing() -> (Api, Process, String) {
    let api = Api::default();
    api.put(MODELS, model("m", &http()));
    let process = Process::start(&api, "");
    process.look(&api, Timestamp::now()).await;
    let (path, _) = api.all(JOBS).pop().expect("a Job");
    (api, process, path)
}

#[tokio::test]
async fn a_model_is_ready_only_with_its_files_and_the_job_goes() {
    let (api, _, _) = importing().await;
    assert_eq!(ready(&found(&api)), "False:Importing");
    assert!(found(&api)["status"]["files"].is_null());
    settle(&api).await;
    let model = found(&api);
    assert_eq!(ready(&model), "True:Imported");
    let status = &model["status"];
    assert_eq!((&status["family"], &status["sizeBytes"]), (&json!("Sd1"), &json!(5)));
    assert_eq!((&status["predictionType"], &status["precision"]), (&json!("epsilon"), &json!("f16")));
    assert_eq!(status["files"][0]["sha256"], "a".repeat(64));
    assert_eq!(status["files"][0]["key"], format!("models/sha256/{}", "a".repeat(64)));
    assert_eq!((&status["triggerWords"], &status["baseModel"]), (&json!(["zorb"]), &json!("sd_v1")));
    assert_eq!(status["network"], json!({"kind": "LoCon", "rank": 16}));
    let picture = json!({"key": format!("models/sha256/{}", "b".repeat(64)), "sha256": "b".repeat(64),
        "mediaType": "image/png", "sizeBytes": 70});
    assert_eq!(status["thumbnail"], picture);
    assert_eq!(status["import"]["attempts"], 1);
    assert_eq!(api.all(JOBS).len(), 0);
}

#[tokio::test]
async fn a_permanent_failure_waits_for_a_new_source() {
    let (api, process, path) = importing().await;
    let report = json!({"Failed": {"reason": "SourceNotFound", "message": "the origin answered 404", "retriable": false}});
    end_job(&api, &path, "Failed", "PodFailurePolicy", 65, &report);
    for years in [0, 1] {
        let now = Timestamp::now() + SignedDuration::from_hours(years * 8760);
        process.look(&api, now).await;
    }
    let model = found(&api);
    assert_eq!(ready(&model), "False:SourceNotFound");
    assert_eq!(condition(&model, "Stalled").0, "True");
    let failure = &model["status"]["lastFailure"];
    assert_eq!((&failure["retriable"], &failure["exitCode"]), (&json!(false), &json!(65)));
    assert_eq!(api.all(JOBS).len(), 1, "the failed Job is kept for its logs");
    assert_eq!(api.all(JOBS)[0].0, path);

    api.change(&at(MODELS, "m"), |model| {
        model["spec"]["source"]["http"]["url"] = json!("https://example.com/b")
    });
    settle(&api).await;
    assert_eq!(ready(&found(&api)), "True:Imported");
    assert_eq!(api.all(JOBS).len(), 0, "also the failed one is gone");
}

#[tokio::test]
async fn deleting_the_failed_job_tries_again() {
    let (api, process, path) = importing().await;
    end_job(&api, &path, "Failed", "PodFailurePolicy", 65, &json!("?"));
    process.look(&api, Timestamp::now()).await;
    assert_eq!(condition(&found(&api), "Stalled").0, "True");
    api.remove(&path);
    settle(&api).await;
    assert_eq!(ready(&found(&api)), "True:Imported");
}

#[tokio::test]
async fn a_retriable_failure_gets_another_job_after_a_while() {
    let (api, process, path) = importing().await;
    let report =
        json!({"Failed": {"reason": "SourceStalled", "message": "no bytes for 30 s", "retriable": true}});
    end_job(&api, &path, "Failed", "BackoffLimitExceeded", 75, &report);
    let failed_at: Timestamp = "2026-01-01T00:00:00Z".parse().unwrap();
    process.look(&api, failed_at + SignedDuration::from_secs(5)).await;
    let model = found(&api);
    assert_eq!(
        (ready(&model), condition(&model, "Reconciling").0),
        ("False:SourceStalled".into(), "True".into())
    );
    assert_eq!(api.all(JOBS)[0].0, path, "still the first Job");

    process.look(&api, failed_at + SignedDuration::from_secs(31)).await;
    let jobs = api.all(JOBS);
    assert_eq!(jobs.len(), 1, "the failed Job made way");
    assert_ne!(jobs[0].0, path);
    assert_eq!(jobs[0].1["metadata"]["annotations"]["easel.dev/import-round"], "2");
    settle(&api).await;
    let model = found(&api);
    assert_eq!(ready(&model), "True:Imported");
    assert_eq!(model["status"]["lastFailure"]["reason"], "SourceStalled", "kept until the next failure");
}

#[tokio::test]
async fn an_upload_waits_for_its_signal_and_a_new_one_imports_again() {
    let api = Api::default();
    api.put(MODELS, model("m", &json!({"upload": {"files": [{"name": "a.safetensors"}]}})));
    settle(&api).await;
    assert_eq!(ready(&found(&api)), "False:WaitingForUpload");
    assert_eq!(api.all(JOBS).len(), 0);
    let mut hashes = Vec::new();
    for time in ["2026-01-01T00:00:00Z", "2026-01-02T00:00:00Z"] {
        api.change(&at(MODELS, "m"), |model| {
            model["metadata"]["annotations"] = json!({"easel.dev/upload-completed-at": time});
        });
        let process = Process::start(&api, "");
        process.look(&api, Timestamp::now()).await;
        assert_eq!(ready(&found(&api)), "False:Importing");
        settle(&api).await;
        assert_eq!(ready(&found(&api)), "True:Imported");
        hashes.push(found(&api)["status"]["sourceHash"].clone());
    }
    assert_ne!(hashes[0], hashes[1]);
}

#[tokio::test]
async fn every_source_that_is_fetched_becomes_ready() {
    for (name, source) in [
        ("s3", json!({"s3": {"bucket": "theirs", "key": "a.safetensors"}})),
        ("hub", json!({"huggingFace": {"repository": "a/b", "revision": "main"}})),
        ("civitai", json!({"civitai": {"modelVersionId": 7}})),
        ("volume", json!({"volume": {"claimName": "weights", "path": "a.safetensors"}})),
    ] {
        let api = Api::default();
        api.put(MODELS, model("m", &source));
        settle(&api).await;
        assert_eq!(ready(&found(&api)), "True:Imported", "{name}");
    }
}

#[tokio::test]
async fn suspending_stops_a_running_import() {
    let (api, process, _) = importing().await;
    api.change(&at(MODELS, "m"), |model| model["spec"]["suspend"] = json!(true));
    process.look(&api, Timestamp::now()).await;
    assert_eq!(ready(&found(&api)), "False:Suspended");
    assert_eq!(api.all(JOBS).len(), 0);
}

#[tokio::test]
async fn the_facades_progress_is_neither_overwritten_nor_a_reason_to_write() {
    let (api, process, _) = importing().await;
    api.change(&at(MODELS, "m"), |model| model["status"]["import"]["bytesDone"] = json!(7));
    api.take_writes();
    process.look(&api, Timestamp::now()).await;
    assert_eq!(api.take_writes(), Vec::<String>::new());
    settle(&api).await;
    assert_eq!(found(&api)["status"]["import"]["bytesDone"], 7);
}

#[tokio::test]
async fn a_model_names_the_endpoints_that_list_it() {
    let api = Api::default();
    api.put(MODELS, stored_model("m"));
    for index in 0..40 {
        api.put(crate::fixture::ENDPOINTS, endpoint(&format!("e{index:02}"), &["m"]));
    }
    Process::start(&api, "").look(&api, Timestamp::now()).await;
    let used_by = found(&api)["status"]["usedBy"].as_array().unwrap().clone();
    assert_eq!(used_by.len(), 32, "bounded");
    assert_eq!(used_by[0], json!({"kind": "Endpoint", "name": "e00"}));
    for (path, _) in api.all(crate::fixture::ENDPOINTS) {
        api.remove(&path);
    }
    settle(&api).await;
    assert!(found(&api)["status"]["usedBy"].is_null());
}

#[tokio::test]
async fn a_work_volume_is_there_while_its_import_goes_on() {
    let api = Api::default();
    api.put(MODELS, model("m", &http()));
    let process = Process::with_work_volumes(&api);
    let failed_at: Timestamp = "2026-01-01T00:00:00Z".parse().unwrap();
    let seconds = |n| failed_at + SignedDuration::from_secs(n);
    let volumes = || api.all(CLAIMS).into_iter().map(|(path, _)| path).collect::<Vec<_>>();
    process.look(&api, seconds(0)).await;
    let first = volumes();
    assert_eq!(first.len(), 1);
    let (job, _) = api.all(JOBS).pop().unwrap();
    let report = json!({"Failed": {"reason": "SourceStalled", "message": "no bytes", "retriable": true}});
    end_job(&api, &job, "Failed", "BackoffLimitExceeded", 75, &report);
    process.look(&api, seconds(5)).await;
    assert_eq!(volumes(), first, "the next round finds what this one fetched");
    // What somebody changed of a claim is left: a claim cannot be written anew.
    api.change(&first[0], |claim| claim["spec"]["resources"]["requests"]["storage"] = json!("9Gi"));
    process.look(&api, seconds(31)).await;
    assert_eq!((volumes(), api.all(JOBS).len()), (first.clone(), 1));
    api.change(&at(MODELS, "m"), |model| model["spec"]["suspend"] = json!(true));
    process.look(&api, seconds(32)).await;
    assert_eq!((volumes(), api.all(JOBS).len()), (first.clone(), 0), "a suspended import may go on");
    api.change(&at(MODELS, "m"), |model| {
        model["spec"]["suspend"] = json!(false);
        model["spec"]["source"]["http"]["url"] = json!("https://example.com/b");
    });
    process.look(&api, seconds(33)).await;
    assert_eq!(volumes().len(), 1);
    assert_ne!(volumes(), first, "another source is another volume");
    process.settle(&api).await;
    assert_eq!(ready(&found(&api)), "True:Imported");
    assert_eq!(volumes(), Vec::<String>::new());
}

#[tokio::test]
async fn a_work_volume_goes_when_the_import_has_failed_for_good() {
    let api = Api::default();
    api.put(MODELS, model("m", &http()));
    let process = Process::with_work_volumes(&api);
    process.look(&api, Timestamp::now()).await;
    let (job, _) = api.all(JOBS).pop().unwrap();
    let report = json!({"Failed": {"reason": "SourceNotFound", "message": "404", "retriable": false}});
    end_job(&api, &job, "Failed", "PodFailurePolicy", 65, &report);
    process.look(&api, Timestamp::now()).await;
    assert_eq!((api.all(JOBS).len(), api.all(CLAIMS).len()), (1, 0), "the Job is kept for its logs");
}
