//! Networks that prompts name, in a worker: fetched when a job brings them, held, given up, and told of.

use easel_protocol::NetworkKind::{Lora, TextualInversion};
use easel_protocol::worker::{ClaimedJob, Completion, JobFailure, ModelFile, ModelPhase, ModelStates};
use easel_protocol::{NetworkFile, NetworkKind};

use crate::support::{FakeFacade, TestWorker, eventually};

/// A job whose prompt names these networks.
fn job(facade: &FakeFacade, id: &str, model: &ModelFile, networks: &[&NetworkFile]) -> ClaimedJob {
    let mut job = facade.job(id, model, "a red circle", 1);
    job.networks = networks.iter().map(|network| (*network).clone()).collect();
    job
}

async fn infotext(facade: &FakeFacade, id: &str) -> String {
    let call = eventually("the job completes", || facade.calls(&format!("{id}/complete")).pop()).await;
    serde_json::from_slice::<Completion>(&call.body).unwrap().infotexts.remove(0)
}

/// What the worker said last about its models.
fn said(facade: &FakeFacade) -> Vec<(String, ModelPhase)> {
    let Some(call) = facade.calls("/models/state").pop() else { return Vec::new() };
    let states: ModelStates = serde_json::from_slice(&call.body).unwrap();
    states.models.into_iter().map(|state| (state.model, state.phase)).collect()
}

async fn says(facade: &FakeFacade, want: &[(&str, ModelPhase)]) {
    let want: Vec<_> = want.iter().map(|(model, phase)| ((*model).to_owned(), *phase)).collect();
    eventually(&format!("the worker says {want:?}"), || (said(facade) == want).then_some(())).await;
}

#[tokio::test]
async fn a_network_is_fetched_once_and_used_by_the_very_next_request() {
    let facade = FakeFacade::start().await;
    let model = facade.model("m", b"weights");
    facade.set("1", std::slice::from_ref(&model), &[]);
    let worker = TestWorker::start(&facade);
    facade.enqueue(job(&facade, "j1", &model, &[]));
    assert_eq!(infotext(&facade, "j1").await, "a red circle\nSeed: 7");
    // It came into being while the worker was running.
    let (ink, dog) =
        (facade.network(Lora, "ink", b"ink"), facade.network(TextualInversion, "dog", b"vectors"));
    for id in ["j2", "j3"] {
        facade.enqueue(job(&facade, id, &model, &[&ink, &dog]));
        let want = "a red circle\nSeed: 7\nLora ink: ink\nTextualInversion dog: vectors";
        assert_eq!(infotext(&facade, id).await, want);
    }
    facade.enqueue(job(&facade, "j4", &model, &[]));
    assert_eq!(infotext(&facade, "j4").await, "a red circle\nSeed: 7", "the next one knows nothing of them");
    assert_eq!((worker.engine.loads(), worker.engine.network_loads()), (1, 2));
    assert_eq!((facade.calls("/blobs/ink").len(), facade.calls("/blobs/m").len()), (1, 1));
    let all = [("dog", ModelPhase::Loaded), ("ink", ModelPhase::Loaded), ("m", ModelPhase::Loaded)];
    says(&facade, &all).await;
    assert_eq!(worker.stop().await, Ok(()));
    assert_eq!(said(&facade), [], "a worker that ends holds nothing");
}

#[tokio::test]
async fn a_bad_network_fails_its_job_and_nothing_else() {
    let facade = FakeFacade::start().await;
    let model = facade.model("m", b"weights");
    facade.set("1", std::slice::from_ref(&model), &[]);
    let worker = TestWorker::start(&facade);
    let bad = facade.network(Lora, "bad", b"unsupported");
    facade.enqueue(job(&facade, "j1", &model, &[&bad]));
    let call = eventually("the job fails", || facade.calls("j1/fail").pop()).await;
    let JobFailure { failure, .. } = serde_json::from_slice(&call.body).unwrap();
    assert_eq!((failure.reason.as_str(), failure.retriable), ("NotAnAdapter", false));
    assert_eq!(failure.message, "model bad: bad.safetensors cannot be loaded: bad is no Lora");
    says(&facade, &[("bad", ModelPhase::Failed), ("m", ModelPhase::Loaded)]).await;
    facade.enqueue(job(&facade, "j2", &model, &[]));
    infotext(&facade, "j2").await;
    assert_eq!(worker.stop().await, Ok(()));
}

#[tokio::test]
async fn listed_networks_are_loaded_before_the_worker_is_ready() {
    let facade = FakeFacade::start().await;
    let (model, ink) = (facade.model("m", b"weights"), facade.network(Lora, "ink", b"ink"));
    facade.set_with("1", std::slice::from_ref(&model), std::slice::from_ref(&ink));
    let worker = TestWorker::start(&facade);
    assert_eq!(worker.shows(r#""ready":true"#).await, 200);
    assert_eq!((worker.engine.loads(), worker.engine.network_loads()), (1, 1));
    // Prompts may call it otherwise than the list does.
    let alias = NetworkFile { name: "ink v2".into(), ..ink };
    facade.enqueue(job(&facade, "j1", &model, &[&alias]));
    assert_eq!(infotext(&facade, "j1").await, "a red circle\nSeed: 7\nLora ink v2: ink");
    assert_eq!(worker.engine.network_loads(), 1, "it is the same file");
    assert_eq!(worker.stop().await, Ok(()));
}

#[tokio::test]
async fn memory_is_given_up_in_the_order_of_what_it_costs_to_have_it_again() {
    let facade = FakeFacade::start().await;
    let model = facade.model("m", b"0123456789");
    facade.set("1", std::slice::from_ref(&model), &[]);
    // What the engine keeps after a request is as large as its networks.
    let worker = TestWorker::start_with(&facade, |config| config.memory_budget_bytes = Some(18));
    let figure = async |name: &str| {
        let (_, metrics) = worker.page("/metrics").await;
        let line = metrics.lines().find_map(|line| line.strip_prefix(&format!("easel_runtime_{name} ")));
        line.expect(name).parse::<u64>().unwrap()
    };
    let network = |name: &str, bytes: &[u8]| facade.network(Lora, name, bytes);
    let (one, two) = (network("one", b"1111"), network("two", b"2222"));
    // Job, its network, networks loaded so far, bytes afterwards.
    for (id, used, loads, bytes) in [
        ("j1", &one, 1, 18), // model 10, network 4, kept 4
        ("j2", &one, 1, 18), // kept would be 8: the network goes, then what is above the budget
        ("j3", &two, 2, 18),
    ] {
        facade.enqueue(job(&facade, id, &model, &[used]));
        infotext(&facade, id).await;
        assert_eq!(
            (worker.engine.network_loads(), figure("model_memory_bytes").await),
            (loads, bytes),
            "{id}"
        );
        assert_eq!(figure("models_loaded").await, 1, "{id}");
    }
    assert_eq!(worker.engine.loads(), 1, "the dearest is still there");
    assert_eq!(worker.stop().await, Ok(()));
}

#[tokio::test]
async fn what_fails_for_good_is_said_before_the_worker_ends() {
    let facade = FakeFacade::start().await;
    let bad = facade.model("bad", b"unsupported bytes");
    facade.set("1", std::slice::from_ref(&bad), &[]);
    let worker = TestWorker::start(&facade);
    let report = worker.ended().await.unwrap_err();
    assert_eq!(report.reason, "UnsupportedModel");
    let call = facade.calls("/models/state").pop().expect("a last word");
    let states: ModelStates = serde_json::from_slice(&call.body).unwrap();
    assert_eq!((states.models[0].model.as_str(), states.models[0].phase), ("bad", ModelPhase::Failed));
    assert_eq!(
        states.models[0].failure.as_ref().map(|failure| failure.reason.as_str()),
        Some("UnsupportedModel")
    );
}

#[tokio::test]
async fn every_kind_reaches_the_engine() {
    let facade = FakeFacade::start().await;
    let model = facade.model("m", b"weights");
    facade.set("1", std::slice::from_ref(&model), &[]);
    let worker = TestWorker::start(&facade);
    let all = [Lora, NetworkKind::Hypernetwork, TextualInversion, NetworkKind::Vae];
    // The same bytes, as different kinds, are different networks.
    let networks = all.map(|kind| facade.network(kind, "n", b"n"));
    facade.enqueue(job(&facade, "j1", &model, &networks.each_ref()));
    let want = "a red circle\nSeed: 7\nLora n: n\nHypernetwork n: n\nTextualInversion n: n\nVae n: n";
    assert_eq!(infotext(&facade, "j1").await, want);
    assert_eq!(worker.engine.network_loads(), 4);
    assert_eq!(worker.stop().await, Ok(()));
}

#[tokio::test]
async fn workers_on_one_cache_directory_transfer_each_file_once() {
    let facade = FakeFacade::start().await;
    let (model, ink) = (facade.model("m", b"weights"), facade.network(Lora, "ink", b"ink"));
    facade.set_with("1", std::slice::from_ref(&model), std::slice::from_ref(&ink));
    let volume = tempfile::tempdir().unwrap();
    let start = || TestWorker::start_with(&facade, |config| config.cache_dir = volume.path().to_owned());
    let workers = [start(), start()];
    for worker in &workers {
        assert_eq!(worker.shows(r#""ready":true"#).await, 200);
        assert_eq!((worker.engine.loads(), worker.engine.network_loads()), (1, 1));
    }
    assert_eq!((facade.calls("/blobs/m").len(), facade.calls("/blobs/ink").len()), (1, 1));
    for worker in &workers {
        assert_eq!(worker.stop().await, Ok(()));
    }
}
