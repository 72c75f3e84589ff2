//! The model set: readiness, hot swap, and models that cannot be loaded.

use crate::support::{FakeFacade, TestWorker, eventually};

#[tokio::test]
async fn an_empty_set_is_ready() {
    let facade = FakeFacade::start().await;
    let worker = TestWorker::start(&facade);
    assert_eq!(worker.shows("ModelSetUnknown").await, 503);
    facade.set("1", &[], &[]);
    assert_eq!(worker.shows(r#"{"ready":true,"reasons":[]}"#).await, 200);
    assert_eq!(worker.page("/healthz").await, (200, "ok\n".to_owned()));
    assert_eq!(worker.stop().await, Ok(()));
}

#[tokio::test]
async fn a_model_that_is_not_imported_yet_keeps_the_worker_unready_but_at_work() {
    let facade = FakeFacade::start().await;
    let model = facade.model("m", b"some weights");
    facade.set("1", std::slice::from_ref(&model), &["other"]);
    facade.enqueue(facade.job("j1", &model, "a red circle", 1));
    let worker = TestWorker::start(&facade);
    assert_eq!(worker.shows("model other: WaitingForUpload").await, 503);
    eventually("the job completes", || facade.calls("j1/complete").pop()).await;
    facade.set("2", std::slice::from_ref(&model), &[]);
    assert_eq!(worker.shows(r#""ready":true"#).await, 200);
    assert_eq!(worker.stop().await, Ok(()));
}

#[tokio::test]
async fn a_changed_set_is_loaded_while_serving() {
    let facade = FakeFacade::start().await;
    let (first, second) = (facade.model("m1", b"first"), facade.model("m2", b"second"));
    facade.set("1", std::slice::from_ref(&first), &[]);
    let worker = TestWorker::start(&facade);
    assert_eq!(worker.shows(r#""ready":true"#).await, 200);
    facade.set("2", &[first.clone(), second.clone()], &[]);
    let held = |facade: &FakeFacade| {
        let claims = facade.calls("/jobs/claim");
        let held = claims.last()?.json()["held"].as_array()?.len();
        (held == 2).then_some(())
    };
    eventually("both models are held", || held(&facade)).await;
    assert_eq!((worker.engine.loads(), facade.calls("/blobs/m1").len()), (2, 1));
    assert_eq!(worker.stop().await, Ok(()));
}

#[tokio::test]
async fn memory_and_disk_keep_to_their_limits() {
    let facade = FakeFacade::start().await;
    let (first, second) = (facade.model("m1", b"0123456789"), facade.model("m2", b"abcdefghij"));
    facade.set("1", std::slice::from_ref(&first), &[]);
    let worker = TestWorker::start_with(&facade, |config| {
        config.memory_budget_bytes = Some(15);
        config.cache_limit_bytes = Some(15);
    });
    assert_eq!(worker.shows(r#""ready":true"#).await, 200);
    for (id, model, downloads) in [("j1", &second, 1), ("j2", &first, 2), ("j3", &second, 2)] {
        facade.enqueue(facade.job(id, model, "a red circle", 1));
        eventually("the job completes", || facade.calls(&format!("{id}/complete")).pop()).await;
        let (_, metrics) = worker.page("/metrics").await;
        for figure in ["model_memory_bytes 10", "models_loaded 1", "cache_bytes 10"] {
            assert!(metrics.contains(&format!("easel_runtime_{figure}\n")), "{id}, {figure}: {metrics}");
        }
        assert_eq!(facade.calls(&format!("/blobs/{}", model.model)).len(), downloads, "{id}");
    }
    assert_eq!(worker.engine.loads(), 4, "each change of model drops the other");
    assert_eq!(worker.stop().await, Ok(()));
}

#[tokio::test]
async fn a_model_that_cannot_be_loaded_ends_the_worker_for_good() {
    let facade = FakeFacade::start().await;
    let good = facade.model("good", b"some weights");
    facade.set("1", std::slice::from_ref(&good), &[]);
    let worker = TestWorker::start(&facade);
    facade.enqueue(facade.job("j1", &good, "hold", 1));
    eventually("the engine begins", || (worker.engine.begun() == 1).then_some(())).await;
    let bad = facade.model("bad", b"unsupported bytes");
    facade.set("2", &[good, bad], &[]);
    worker.shows("Draining").await;
    worker.engine.open_gate();
    let report = worker.ended().await.unwrap_err();
    assert_eq!((report.reason.as_str(), report.exit_code()), ("UnsupportedModel", 65));
    assert_eq!(report.message, "model bad: bad.safetensors cannot be loaded: bad.safetensors is no model");
    assert_eq!(facade.calls("j1/complete").len(), 1, "the running job was finished first");
}

#[tokio::test]
async fn a_model_larger_than_the_cache_is_a_permanent_failure() {
    let facade = FakeFacade::start().await;
    let model = facade.model("m", &[7; 100]);
    facade.set("1", std::slice::from_ref(&model), &[]);
    let worker = TestWorker::start_with(&facade, |config| config.cache_limit_bytes = Some(99));
    let report = worker.ended().await.unwrap_err();
    assert_eq!((report.reason.as_str(), report.exit_code()), ("CacheTooSmall", 65));
    assert!(
        report.message.contains("100 bytes") && report.message.contains("99 bytes"),
        "{}",
        report.message
    );
}

#[tokio::test]
async fn a_model_that_is_a_folder_is_loaded_once_and_used_by_the_name_of_its_first_weights() {
    let facade = FakeFacade::start().await;
    let parts = [
        ("unet", "unet/diffusion_pytorch_model.safetensors", &b"unet weights"[..]),
        ("vae", "vae/diffusion_pytorch_model.safetensors", b"vae weights"),
        ("config", "unet/config.json", b"{}"),
    ];
    let files = parts.map(|(blob, name, bytes)| easel_protocol::worker::ModelFile {
        model: "folder".to_owned(),
        file_name: name.to_owned(),
        ..facade.model(blob, bytes)
    });
    facade.set("1", &files, &[]);
    let worker = TestWorker::start(&facade);
    assert_eq!(worker.shows(r#""ready":true"#).await, 200);
    assert_eq!(worker.engine.loads(), 1);
    facade.enqueue(facade.job("j1", &files[0], "a red circle", 1));
    eventually("the job completes", || facade.calls("j1/complete").pop()).await;
    assert_eq!(worker.engine.loads(), 1, "the job uses what is in memory");
    for (blob, _, _) in parts {
        assert_eq!(facade.calls(&format!("/blobs/{blob}")).len(), 1, "{blob}");
    }
    assert_eq!(worker.stop().await, Ok(()));
}
