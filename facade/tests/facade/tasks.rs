//! What runs beside the listeners.

use std::time::Duration;

use easel_facade::{outputs, tasks};
use easel_protocol::worker::CLAIM_PATH;
use easel_store::jobs::{Attempt, Claim, CompletionRecord, Holder, Job, JobFilter, JobId, JobState, NewJob};
use http::StatusCode;
use jiff::{SignedDuration, Timestamp};
use serde_json::json;

use crate::fixture::Fixture;

const PATIENCE: Duration = Duration::from_secs(30);

async fn submit(facade: &Fixture) -> Job {
    let body = json!({
        "task_type": "txt2img", "sagemaker_endpoint_name": "demo", "models": {"Stable-diffusion": ["easel-demo.safetensors"]},
    });
    assert_eq!(facade.post("/inference-api/inference", &body).await.status, StatusCode::OK);
    facade.app.jobs.list(&JobFilter::new("team")).await.unwrap().jobs.remove(0)
}

#[tokio::test]
async fn a_job_of_a_worker_that_died_goes_to_another_one() {
    let facade = Fixture::with(&["--lease", "1"], None).await;
    let sweep = tokio::spawn(tasks::expire_leases(facade.app.clone()));
    let id = submit(&facade).await.id.to_string();
    let claim = json!({"held": [], "waitSeconds": 20});
    for (pod, attempt) in [("dies", 1), ("lives", 2)] {
        let token = format!("team/easel-endpoint-demo/{pod}");
        let claimed = tokio::time::timeout(PATIENCE, facade.pod(&token, CLAIM_PATH, &claim)).await.unwrap();
        assert_eq!(claimed.status, StatusCode::OK, "{pod}");
        assert_eq!(
            (&claimed.json()["id"], &claimed.json()["attempt"]),
            (&json!(id), &json!(attempt)),
            "{pod}"
        );
    }
    facade.app.shutdown.cancel();
    tokio::time::timeout(PATIENCE, sweep).await.unwrap().unwrap();
    assert!(facade.app.metrics.render().contains(r#"easel_leases_expired_total{outcome="queued"} 1"#));
}

/// Lets a job succeed at that time.
async fn succeed(facade: &Fixture, at: Timestamp) {
    let worker = "pod";
    let lease = Duration::from_secs(20);
    let claim = Claim { namespace: "team", endpoint: "demo", worker, held: &[], lease };
    let job = facade.app.jobs.claim(&claim, at).await.unwrap().expect("a job waits");
    let holder = Holder { id: job.id, attempt: Attempt(1), worker };
    facade.app.jobs.complete(&holder, &CompletionRecord::default(), at).await.unwrap();
    let key = outputs::key(job.id, "image_0.png");
    facade.app.objects.put(&key, bytes::Bytes::from_static(b"x"), "image/png").await.unwrap();
}

#[tokio::test]
async fn old_jobs_go_with_their_pictures_and_others_stay() {
    let facade = Fixture::with(&["--job-retention-days", "30"], None).await;
    let old = submit(&facade).await;
    succeed(&facade, Timestamp::now() - SignedDuration::from_hours(24 * 31)).await;
    let new = submit(&facade).await;
    succeed(&facade, Timestamp::now() - SignedDuration::from_hours(24 * 29)).await;
    let waiting = submit(&facade).await;
    let purge = tokio::spawn(tasks::purge(facade.app.clone()));
    let gone = async {
        while facade.app.jobs.find(old.id).await.unwrap().is_some() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(PATIENCE, gone).await.unwrap();
    facade.app.shutdown.cancel();
    tokio::time::timeout(PATIENCE, purge).await.unwrap().unwrap();
    for (job, stays) in [(&old, false), (&new, true)] {
        let picture = facade.app.objects.head(&outputs::key(job.id, "image_0.png")).await.unwrap();
        assert_eq!(picture.is_some(), stays);
    }
    for job in [&new, &waiting] {
        assert!(facade.app.jobs.find(job.id).await.unwrap().is_some());
    }
}

#[tokio::test]
async fn jobs_of_a_deleted_endpoint_fail_and_say_so() {
    let facade = Fixture::with(&[], None).await;
    let (served, id) = (submit(&facade).await, JobId::new());
    let orphan = NewJob {
        id,
        namespace: "team".into(),
        endpoint: "deleted".into(),
        dialect: served.dialect.clone(),
        request: served.request.clone(),
        checkpoint: served.checkpoint.clone(),
        dialect_params: served.dialect_params.clone(),
        idempotency_key: None,
        max_tries: 3,
        timeout_seconds: 600,
    };
    let start = Timestamp::now();
    facade.app.jobs.submit(orphan, 10, start).await.unwrap();
    let mut missing = tasks::Missing::new();
    tasks::sweep_orphans(&facade.app, &mut missing, start).await;
    let state = async || facade.app.jobs.find(id).await.unwrap().unwrap();
    assert_eq!(state().await.state, JobState::Queued, "it may come back");
    tasks::sweep_orphans(&facade.app, &mut missing, start + tasks::GRACE).await;
    let failed = state().await;
    assert_eq!(failed.state, JobState::Failed);
    let failure = failed.failure.unwrap();
    assert_eq!((failure.reason.as_str(), failure.retriable), ("EndpointDeleted", false));
    assert!(failure.message.starts_with("Endpoint team/deleted was deleted"), "{}", failure.message);
    assert_eq!(facade.app.jobs.find(served.id).await.unwrap().unwrap().state, JobState::Queued);
}
