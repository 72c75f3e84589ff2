//! Imports of what is in the object store already: read, not moved.

use easel_protocol::import::{ImportedModel, Origin as From};
use easel_runtime::import::{ImportError, import};

use crate::support::{FakeFacade, import_config, sha256_hex, tiny_checkpoint};

async fn run(
    bytes: &[u8],
    prepare: impl FnOnce(&FakeFacade),
) -> (Result<ImportedModel, ImportError>, FakeFacade) {
    let facade = FakeFacade::start().await;
    let file = facade.model("m", bytes);
    facade.import_task(
        "Checkpoint",
        From::Stored { key: "models/ns/m/upload/m".into(), url: file.url },
        None,
    );
    prepare(&facade);
    let directory = tempfile::tempdir().unwrap();
    let result = import(&import_config(&facade, &directory)).await;
    assert!(facade.calls("/import/store").is_empty() && facade.calls("/parts/").is_empty());
    (result, facade)
}

#[tokio::test]
async fn a_stored_file_is_hashed_where_it_is() {
    let bytes = tiny_checkpoint();
    let (result, _) = run(&bytes, |_| {}).await;
    let model = result.unwrap();
    assert_eq!(model.files[0].key, "models/ns/m/upload/m");
    assert_eq!(model.files[0].sha256, sha256_hex(&bytes));
    assert_eq!(model.family, "Sd1");
}

#[tokio::test]
async fn a_hostile_file_is_refused_from_its_header() {
    let bytes = [&(2_u64 << 30).to_le_bytes()[..], &[b'{'; 100]].concat();
    let (result, facade) = run(&bytes, |_| {}).await;
    assert!(!result.unwrap_err().retriable());
    assert_eq!(facade.calls("/blobs/m").len(), 1, "the file is not read a second time for its hash");
}

#[tokio::test]
async fn a_missing_object_is_permanent_and_a_store_that_is_away_is_not() {
    let bytes = tiny_checkpoint();
    let (missing, _) = run(&bytes, |facade| facade.refuse("/blobs/", 404, usize::MAX)).await;
    let error = missing.unwrap_err();
    assert_eq!((error.reason(), error.retriable()), ("ObjectNotFound", false));
    let (away, _) = run(&bytes, |facade| facade.refuse("/blobs/", 403, usize::MAX)).await;
    let error = away.unwrap_err();
    assert_eq!((error.reason(), error.retriable()), ("StoreReadFailed", true));
    let (back, _) = run(&bytes, |facade| facade.refuse("/blobs/", 503, 2)).await;
    assert_eq!(back.unwrap().files[0].sha256, sha256_hex(&bytes));
}
