//! Weight files on their way into the cache.

use crate::support::{FakeFacade, TestWorker, eventually};

const WEIGHTS: &[u8] = b"0123456789abcdefghij";

async fn with_spoiled(bodies: &[&[u8]]) -> (FakeFacade, TestWorker) {
    let facade = FakeFacade::start().await;
    let model = facade.model("m", WEIGHTS);
    facade.set("1", std::slice::from_ref(&model), &[]);
    bodies.iter().for_each(|body| facade.spoil_next_blob(body));
    let worker = TestWorker::start(&facade);
    (facade, worker)
}

fn files(worker: &TestWorker) -> Vec<String> {
    let entries = std::fs::read_dir(&worker.cache).unwrap().map(|entry| entry.unwrap());
    let files = entries.filter(|entry| entry.file_type().unwrap().is_file());
    files.map(|entry| entry.file_name().into_string().unwrap()).collect()
}

#[tokio::test]
async fn damage_on_the_way_is_repaired() {
    let (facade, worker) = with_spoiled(&[b"0123456789abcdefghiX"]).await;
    assert_eq!(worker.shows(r#""ready":true"#).await, 200);
    assert_eq!(facade.calls("/blobs/m").len(), 2);
    let names = files(&worker);
    assert_eq!(names, [format!("{}.safetensors", crate::support::sha256_hex(WEIGHTS))]);
    assert_eq!(std::fs::read(worker.cache.join(&names[0])).unwrap(), WEIGHTS);
    assert_eq!(worker.stop().await, Ok(()));
}

#[tokio::test]
async fn damage_in_the_store_is_permanent_and_leaves_no_file() {
    let wrong: &[u8] = b"0123456789abcdefghiX";
    let (facade, worker) = with_spoiled(&[wrong; 10]).await;
    eventually("the second download", || (facade.calls("/blobs/m").len() == 2).then_some(())).await;
    let report = worker.ended().await.unwrap_err();
    assert_eq!((report.reason.as_str(), report.retriable), ("ChecksumMismatch", false));
    for hash in [crate::support::sha256_hex(WEIGHTS), crate::support::sha256_hex(wrong)] {
        assert!(report.message.contains(&hash), "{}", report.message);
    }
    assert_eq!(facade.calls("/blobs/m").len(), 2, "not a third time");
    assert_eq!(files(&worker), Vec::<String>::new());
}

#[tokio::test]
async fn a_broken_transfer_goes_on_where_it_broke() {
    let (facade, worker) = with_spoiled(&[b"01234567"]).await;
    assert_eq!(worker.shows(r#""ready":true"#).await, 200);
    assert_eq!(facade.calls("/blobs/m").len(), 2);
    assert_eq!(std::fs::read(worker.cache.join(&files(&worker)[0])).unwrap(), WEIGHTS);
    assert_eq!(worker.stop().await, Ok(()));
}

#[tokio::test]
async fn a_file_left_by_an_earlier_process_is_not_fetched_again_and_bytes_without_a_record_count_for_nothing()
{
    let facade = FakeFacade::start().await;
    let (whole, half) = (facade.model("whole", WEIGHTS), facade.model("half", b"another model"));
    facade.set("1", &[whole.clone(), half.clone()], &[]);
    let worker = TestWorker::start_with(&facade, |config| {
        std::fs::create_dir_all(&config.cache_dir).unwrap();
        let path = |name: String| config.cache_dir.join(name);
        std::fs::write(path(format!("{}.safetensors", whole.sha256)), WEIGHTS).unwrap();
        std::fs::write(path(format!("{}.part", half.sha256)), b"some other bytes").unwrap();
    });
    assert_eq!(worker.shows(r#""ready":true"#).await, 200);
    assert!(facade.calls("/blobs/whole").is_empty());
    assert_eq!(facade.calls("/blobs/half").len(), 1);
    assert_eq!(files(&worker).len(), 2, "nothing is left of the transfer");
    assert_eq!(worker.stop().await, Ok(()));
}

#[tokio::test]
async fn an_address_that_ran_out_is_asked_for_again() {
    let facade = FakeFacade::start().await;
    let model = facade.model("m", WEIGHTS);
    facade.set("1", std::slice::from_ref(&model), &[]);
    facade.refuse("/blobs/m", 403, 2);
    let worker = TestWorker::start(&facade);
    assert_eq!(worker.shows(r#""ready":true"#).await, 200);
    assert!(facade.calls("/worker/v1/models").len() >= 3, "each time with a fresh set");
    assert_eq!(worker.stop().await, Ok(()));
}

#[tokio::test]
async fn an_address_that_never_works_ends_the_worker_for_another_try() {
    let facade = FakeFacade::start().await;
    let model = facade.model("m", WEIGHTS);
    facade.set("1", std::slice::from_ref(&model), &[]);
    facade.refuse("/blobs/m", 403, usize::MAX);
    let report = TestWorker::start(&facade).ended().await.unwrap_err();
    assert_eq!((report.reason.as_str(), report.exit_code()), ("ModelDownloadFailed", 75));
    assert!(report.message.contains("model m") && report.message.contains("403"), "{}", report.message);
}
