//! Heartbeats, lost leases, cancellation, and the end of the process.

use easel_protocol::worker::{JobFailure, ModelFile};

use crate::support::{FakeFacade, TestWorker, eventually};

/// A worker in the middle of job `j1`, which goes on when the engine's gate opens.
async fn holding() -> (FakeFacade, TestWorker, ModelFile) {
    let facade = FakeFacade::start().await;
    let model = facade.model("m", b"some weights");
    facade.set("1", std::slice::from_ref(&model), &[]);
    facade.enqueue(facade.job("j1", &model, "hold", 1));
    let worker = TestWorker::start(&facade);
    eventually("the engine begins", || (worker.engine.begun() == 1).then_some(())).await;
    (facade, worker, model)
}

async fn done(facade: &FakeFacade, id: &str) {
    let path = format!("{id}/complete");
    eventually("the job completes", || facade.calls(&path).pop()).await;
}

#[tokio::test]
async fn heartbeats_keep_the_lease_while_the_engine_works() {
    let (facade, worker, _) = holding().await;
    // The lease is one second: without heartbeats the job would be dropped before the fifth.
    eventually("five heartbeats", || (facade.calls("j1/heartbeat").len() >= 5).then_some(())).await;
    let beat = facade.calls("j1/heartbeat").pop().unwrap().json();
    assert_eq!(beat["attempt"], 1);
    assert_eq!(beat["progress"]["stage"], "Denoising");
    assert_eq!(beat["progress"]["total"], 4);
    worker.engine.open_gate();
    done(&facade, "j1").await;
    assert_eq!(worker.stop().await, Ok(()));
}

#[tokio::test]
async fn a_lost_lease_stops_the_engine_and_is_not_reported() {
    let (facade, worker, model) = holding().await;
    facade.lose_leases(true);
    eventually("the engine stops", || (worker.engine.stopped() == 1).then_some(())).await;
    facade.lose_leases(false);
    facade.enqueue(facade.job("j2", &model, "a red circle", 1));
    done(&facade, "j2").await;
    assert_eq!(worker.stop().await, Ok(()));
    for action in ["complete", "fail", "release"] {
        assert!(facade.calls(&format!("j1/{action}")).is_empty(), "{action}");
    }
}

#[tokio::test]
async fn a_facade_that_is_away_for_less_than_the_lease_costs_nothing() {
    let (facade, worker, _) = holding().await;
    facade.refuse("j1/heartbeat", 503, 2);
    let beats = facade.calls("j1/heartbeat").len();
    eventually("heartbeats go on", || (facade.calls("j1/heartbeat").len() >= beats + 5).then_some(())).await;
    worker.engine.open_gate();
    done(&facade, "j1").await;
    assert_eq!(worker.engine.stopped(), 0);
    assert_eq!(worker.stop().await, Ok(()));
}

#[tokio::test]
async fn a_facade_that_is_away_for_longer_than_the_lease_costs_the_job() {
    let (facade, worker, _) = holding().await;
    facade.refuse("/worker/", 503, usize::MAX);
    eventually("the engine stops", || (worker.engine.stopped() == 1).then_some(())).await;
    facade.heal();
    assert_eq!(worker.stop().await, Ok(()));
    assert!(facade.calls("j1/fail").is_empty() && facade.calls("j1/complete").is_empty());
}

#[tokio::test]
async fn a_cancelled_job_stops_and_says_so() {
    let (facade, worker, _) = holding().await;
    facade.cancel_jobs();
    let call = eventually("the job fails", || facade.calls("j1/fail").pop()).await;
    let failed: JobFailure = serde_json::from_slice(&call.body).unwrap();
    assert_eq!((failed.failure.reason.as_str(), failed.failure.retriable), ("Cancelled", false));
    assert_eq!(worker.engine.stopped(), 1);
    assert_eq!(worker.stop().await, Ok(()));
    assert!(facade.calls("/objects/").is_empty());
}

#[tokio::test]
async fn draining_finishes_the_running_job_and_takes_no_other() {
    let (facade, worker, model) = holding().await;
    worker.shutdown.begin();
    facade.enqueue(facade.job("j2", &model, "a red circle", 1));
    assert_eq!(worker.shows("Draining").await, 503);
    worker.engine.open_gate();
    assert_eq!(worker.ended().await, Ok(()));
    assert_eq!(facade.calls("j1/complete").len(), 1);
    assert!(facade.calls("j2/").is_empty(), "the second job is left to another worker");
}

#[tokio::test]
async fn an_idle_worker_ends_at_once_and_gives_a_late_job_back() {
    let facade = FakeFacade::start().await;
    facade.set("1", &[], &[]);
    let model = facade.model("m", b"some weights");
    let worker = TestWorker::start_with(&facade, |config| config.claim_wait_seconds = 30);
    eventually("a claim waits", || facade.calls("/jobs/claim").pop()).await;
    worker.shutdown.begin();
    facade.enqueue(facade.job("late", &model, "a red circle", 1));
    assert_eq!(worker.ended().await, Ok(()));
    assert_eq!(facade.calls("late/release").len(), 1);
    assert_eq!(facade.calls("late/release")[0].json()["attempt"], 1);
}

#[tokio::test]
async fn a_job_that_outlives_the_grace_is_given_back() {
    let (facade, worker, _) = holding().await;
    worker.shutdown.end();
    assert_eq!(worker.ended().await, Ok(()));
    assert_eq!(facade.calls("j1/release").len(), 1);
    assert!(facade.calls("j1/fail").is_empty(), "a release costs no attempt");
}
