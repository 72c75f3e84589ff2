//! One job and how it ends.

use easel_protocol::worker::{Completion, JobFailure};

use crate::support::{FakeFacade, TestWorker, eventually, sha256_hex};

/// A facade with one model in its set.
async fn facade() -> (FakeFacade, easel_protocol::worker::ModelFile) {
    let facade = FakeFacade::start().await;
    let model = facade.model("m", b"some weights");
    facade.set("1", std::slice::from_ref(&model), &[]);
    (facade, model)
}

async fn completion(facade: &FakeFacade, id: &str) -> Completion {
    let path = format!("{id}/complete");
    let call = eventually("the job completes", || facade.calls(&path).pop()).await;
    serde_json::from_slice(&call.body).unwrap()
}

async fn failure(facade: &FakeFacade, id: &str) -> JobFailure {
    let path = format!("{id}/fail");
    let call = eventually("the job fails", || facade.calls(&path).pop()).await;
    serde_json::from_slice(&call.body).unwrap()
}

#[tokio::test]
async fn a_claimed_job_becomes_stored_pictures() {
    let (facade, model) = facade().await;
    facade.enqueue(facade.job("j1", &model, "a red circle", 2));
    let worker = TestWorker::start(&facade);
    let done = completion(&facade, "j1").await;

    assert_eq!(done.attempt, 1);
    assert_eq!(done.infotexts, ["a red circle\nSeed: 7", "a red circle\nSeed: 8"]);
    let names: Vec<_> = done.outputs.iter().map(|output| output.name.as_str()).collect();
    assert_eq!(names, ["image_0.png", "image_0.jpg", "image_1.png", "image_1.jpg"]);
    for output in &done.outputs {
        let stored = facade.calls(&format!("/objects/j1/{}", output.name)).pop().unwrap();
        assert_eq!(sha256_hex(&stored.body), output.sha256, "{}", output.name);
        assert_eq!(
            (stored.body.len() as u64, stored.content_length),
            (output.size_bytes, Some(output.size_bytes))
        );
        let png = output.name.ends_with("png");
        let (magic, content_type): (&[u8], _) =
            if png { (b"\x89PNG", "image/png") } else { (b"\xff\xd8\xff", "image/jpeg") };
        assert!(stored.body.starts_with(magic), "{}", output.name);
        assert_eq!(stored.content_type.as_deref(), Some(content_type));
    }
    assert_eq!(facade.calls("/worker/v1/jobs/claim")[0].json()["held"][0], model.sha256);
    let (status, metrics) = worker.page("/metrics").await;
    assert_eq!(status, 200);
    assert!(metrics.contains("easel_runtime_jobs_total{outcome=\"succeeded\"} 1"), "{metrics}");
    assert!(metrics.contains("easel_runtime_cache_bytes 12"), "{metrics}");
    assert_eq!(worker.stop().await, Ok(()));
    assert_eq!(facade.calls("/complete").len(), 1);
}

#[tokio::test]
async fn a_facade_that_answers_500_is_asked_again() {
    let (facade, model) = facade().await;
    facade.refuse("/worker/v1/models", 500, 2);
    facade.refuse("/jobs/claim", 503, 2);
    facade.refuse("/complete", 500, 2);
    facade.enqueue(facade.job("j1", &model, "a red circle", 1));
    let worker = TestWorker::start(&facade);
    eventually("the third complete", || (facade.calls("j1/complete").len() == 3).then_some(())).await;
    assert_eq!(worker.stop().await, Ok(()));
    assert_eq!(facade.calls("/objects/").len(), 2, "the pictures were stored once");
    assert!(facade.calls("/fail").is_empty());
}

#[tokio::test]
async fn a_store_that_hiccups_is_asked_again() {
    let (facade, model) = facade().await;
    facade.refuse("/objects/", 503, 2);
    facade.enqueue(facade.job("j1", &model, "a red circle", 1));
    let worker = TestWorker::start(&facade);
    completion(&facade, "j1").await;
    assert_eq!(worker.stop().await, Ok(()));
    assert_eq!(facade.calls("/objects/").len(), 4);
}

#[tokio::test]
async fn a_store_that_refuses_fails_the_attempt_for_another_to_try() {
    let (facade, model) = facade().await;
    facade.refuse("/objects/", 403, usize::MAX);
    facade.enqueue(facade.job("j1", &model, "a red circle", 1));
    let worker = TestWorker::start(&facade);
    let failed = failure(&facade, "j1").await.failure;
    assert_eq!((failed.reason.as_str(), failed.retriable), ("OutputUploadFailed", true));
    assert!(failed.message.contains("image_0.png") && failed.message.contains("403"), "{}", failed.message);
    assert!(!failed.message.contains("secret"), "{}", failed.message);
    assert_eq!(worker.stop().await, Ok(()));
    assert!(facade.calls("/complete").is_empty());
}

#[tokio::test]
async fn an_error_of_the_engine_fails_the_job_with_its_reason() {
    let (facade, model) = facade().await;
    facade.enqueue(facade.job("j1", &model, "fail", 1));
    facade.enqueue(facade.job("j2", &model, "a red circle", 1));
    let worker = TestWorker::start(&facade);
    let failed = failure(&facade, "j1").await;
    assert_eq!(failed.attempt, 1);
    assert_eq!((failed.failure.reason.as_str(), failed.failure.retriable), ("PromptTooOdd", false));
    assert_eq!(failed.failure.message, "the prompt is too odd");
    completion(&facade, "j2").await;
    assert_eq!(worker.stop().await, Ok(()));
}

#[tokio::test]
async fn a_panic_of_the_engine_fails_the_job_and_drops_the_model() {
    let (facade, model) = facade().await;
    facade.enqueue(facade.job("j1", &model, "panic", 1));
    let worker = TestWorker::start(&facade);
    let failed = failure(&facade, "j1").await.failure;
    assert_eq!((failed.reason.as_str(), failed.retriable), ("EnginePanicked", true));
    assert!(failed.message.contains("a bug in a kernel"), "{}", failed.message);
    assert_eq!(worker.engine.loads(), 1);
    facade.enqueue(facade.job("j2", &model, "a red circle", 1));
    completion(&facade, "j2").await;
    assert_eq!(worker.engine.loads(), 2, "the model is loaded afresh");
    assert_eq!(worker.stop().await, Ok(()));
}

#[tokio::test]
async fn a_job_that_takes_too_long_is_stopped() {
    let (facade, model) = facade().await;
    let mut job = facade.job("j1", &model, "hold", 1);
    job.timeout_seconds = 1;
    facade.enqueue(job);
    let worker = TestWorker::start(&facade);
    let failed = failure(&facade, "j1").await.failure;
    assert_eq!((failed.reason.as_str(), failed.retriable), ("Timeout", true));
    assert_eq!(worker.engine.stopped(), 1);
    assert_eq!(worker.stop().await, Ok(()));
}

#[tokio::test]
async fn an_output_of_a_picture_that_was_not_made_is_a_permanent_failure() {
    let (facade, model) = facade().await;
    let mut job = facade.job("j1", &model, "a red circle", 1);
    job.outputs[1].picture = 5;
    facade.enqueue(job);
    let worker = TestWorker::start(&facade);
    let failed = failure(&facade, "j1").await.failure;
    assert_eq!((failed.reason.as_str(), failed.retriable), ("OutputMismatch", false));
    assert_eq!(worker.stop().await, Ok(()));
}
