//! Imports from addresses that users name: transfer, resumption, and files that are not what they should be.

use easel_protocol::import::{ImportedModel, Origin as From};
use easel_runtime::import::{ImportError, import};

use crate::support::{
    FakeFacade, Origin, Reply, import_config, lora, sha256_hex, tiny_checkpoint, with_header,
};

/// Imports a Checkpoint from a server with these replies.
async fn run(replies: Vec<Reply>) -> (Result<ImportedModel, ImportError>, FakeFacade, Origin) {
    let origin = Origin::start(replies).await;
    let facade = FakeFacade::start().await;
    facade.import_task("Checkpoint", From::Http { url: origin.url(), headers: vec![] }, None);
    let directory = tempfile::tempdir().unwrap();
    let result = import(&import_config(&facade, &directory)).await;
    (result, facade, origin)
}

/// Reason, retriable, message of the failure that these replies lead to.
async fn failure(replies: Vec<Reply>) -> (&'static str, bool, String) {
    let (result, facade, _origin) = run(replies).await;
    let error = result.unwrap_err();
    assert!(facade.calls("/import/store").is_empty(), "nothing is stored");
    let report = error.report();
    assert!(!report.message.contains("secret"), "{}", report.message);
    (error.reason(), error.retriable(), report.message)
}

#[tokio::test]
async fn a_checkpoint_is_stored_in_parts_with_its_hash() {
    let file = tiny_checkpoint();
    let (result, facade, origin) = run(vec![Reply::file(&file)]).await;
    let model = result.unwrap();
    assert_eq!(model.family, "Sd1");
    assert_eq!(model.precision.as_deref(), Some("f16"));
    let stored = &model.files[0];
    assert_eq!((stored.name.as_str(), stored.size_bytes), ("m.safetensors", file.len() as u64));
    assert_eq!(stored.sha256, sha256_hex(&file));
    assert_eq!(stored.key, format!("models/sha256/{}", stored.sha256));

    let parts = facade.calls("/parts/");
    assert_eq!(parts.len(), file.len().div_ceil(4096));
    assert!(parts.iter().all(|part| part.content_length == Some(part.body.len() as u64)));
    assert!(facade.stored() == [(sha256_hex(&file), file.clone())], "the parts are the file");
    let done = facade.calls("/import/complete")[0].json();
    assert_eq!(done["uploadId"], "upload-1");
    assert_eq!(done["parts"].as_array().unwrap().len(), parts.len());
    assert_eq!(done["parts"][0]["etag"], format!("\"{}\"", &sha256_hex(&file[..4096])[..8]));
    assert!(origin.requests()[0].contains("accept-encoding: identity"));
}

#[tokio::test]
async fn an_object_that_is_there_is_not_sent_again() {
    let file = tiny_checkpoint();
    let origin = Origin::start(vec![Reply::file(&file)]).await;
    let facade = FakeFacade::start().await;
    facade.model("same-bytes", &file);
    facade.import_task("Checkpoint", From::Http { url: origin.url(), headers: vec![] }, None);
    let directory = tempfile::tempdir().unwrap();
    import(&import_config(&facade, &directory)).await.unwrap();
    assert!(facade.calls("/parts/").is_empty() && facade.calls("/import/complete").is_empty());
}

#[tokio::test]
async fn faults_of_facade_and_store_are_outlived() {
    let file = tiny_checkpoint();
    let origin = Origin::start(vec![Reply::file(&file)]).await;
    let facade = FakeFacade::start().await;
    facade.refuse("/import/claim", 503, 1);
    facade.refuse("/import/store", 500, 1);
    facade.refuse("/parts/2", 500, 1);
    facade.refuse("/import/complete", 503, 1);
    facade.import_task("Checkpoint", From::Http { url: origin.url(), headers: vec![] }, None);
    let directory = tempfile::tempdir().unwrap();
    import(&import_config(&facade, &directory)).await.unwrap();
    let sent = |path| facade.calls("/parts/").iter().filter(|call| call.path == path).count();
    assert_eq!((sent("/parts/1"), sent("/parts/2"), sent("/parts/3")), (1, 2, 1));
    assert_eq!(facade.calls("/import/complete").len(), 2);
}

#[tokio::test]
async fn a_broken_transfer_goes_on_where_it_broke() {
    let file = tiny_checkpoint();
    let rest = Reply::new(
        "206 Partial Content",
        &[
            &format!("content-range: bytes 1000-{}/{}", file.len() - 1, file.len()),
            &format!("content-length: {}", file.len() - 1000),
            "etag: \"v1\"",
        ],
        &file[1000..],
    );
    let (result, _, origin) = run(vec![Reply::cut(&file, 1000), rest]).await;
    assert_eq!(result.unwrap().files[0].sha256, sha256_hex(&file));
    let requests = origin.requests();
    assert!(!requests[0].contains("range:"));
    assert!(
        requests[1].contains("range: bytes=1000-") && requests[1].contains("if-range: \"v1\""),
        "{requests:?}"
    );
}

#[tokio::test]
async fn a_file_that_changed_in_between_is_read_from_its_start() {
    let (old, new) = (lora(), tiny_checkpoint());
    let (result, _, _) = run(vec![Reply::cut(&old, 100), Reply::file(&new)]).await;
    assert_eq!(result.unwrap().files[0].sha256, sha256_hex(&new));
}

#[tokio::test]
async fn without_anything_to_tell_versions_apart_a_transfer_starts_again() {
    let file = tiny_checkpoint();
    let length = format!("content-length: {}", file.len());
    let plain = |body: &[u8]| Reply::new("200 OK", &[&length], body);
    let (result, _, origin) = run(vec![plain(&file[..1000]), plain(&file)]).await;
    assert_eq!(result.unwrap().files[0].sha256, sha256_hex(&file));
    assert!(!origin.requests()[1].contains("range:"), "{:?}", origin.requests());
}

#[tokio::test]
async fn a_range_that_begins_elsewhere_is_not_glued_on() {
    let file = tiny_checkpoint();
    let wrong = Reply::new(
        "206 Partial Content",
        &["content-range: bytes 500-999/2000", "content-length: 500"],
        &[0; 500],
    );
    let (result, _, _) = run(vec![Reply::cut(&file, 1000), wrong, Reply::file(&file)]).await;
    assert_eq!(result.unwrap().files[0].sha256, sha256_hex(&file));
}

#[tokio::test]
async fn what_the_server_refuses_is_permanent_and_what_it_cannot_is_not() {
    for (status, reason, retriable) in [
        ("404 Not Found", "SourceNotFound", false),
        ("410 Gone", "SourceNotFound", false),
        ("401 Unauthorized", "SourceForbidden", false),
        ("403 Forbidden", "SourceForbidden", false),
        ("500 Internal Server Error", "SourceUnavailable", true),
    ] {
        let reply = Reply::new(status, &["content-length: 4"], b"nope");
        let (got, again, message) = failure(vec![reply]).await;
        assert_eq!((got, again), (reason, retriable), "{status}");
        assert!(message.contains("m.safetensors") && message.contains(&status[..3]), "{message}");
    }
}

#[tokio::test]
async fn silence_and_lies_about_the_length_are_retriable() {
    let file = tiny_checkpoint();
    let stalls = failure(vec![Reply::cut(&file, 1000).then_hang()]).await;
    assert_eq!((stalls.0, stalls.1), ("SourceStalled", true));
    assert!(stalls.2.contains("no byte for 1 s"), "{}", stalls.2);
    let garbage = failure(vec![Reply::new("no status", &[], b"")]).await;
    assert_eq!((garbage.0, garbage.1), ("SourceUnreachable", true));
    // Each time the same 1000 bytes, whatever range is asked for.
    let lies = failure(vec![Reply::cut(&file, 1000)]).await;
    assert_eq!((lies.0, lies.1), ("SourceTruncated", true));
}

#[tokio::test]
async fn a_file_above_the_limit_is_refused_before_and_while_it_comes() {
    let limit = 1 << 20;
    let announced = Reply::new("200 OK", &[&format!("content-length: {}", limit + 1)], b"");
    let unannounced = Reply::new("200 OK", &[], &vec![0; limit + 1]);
    for reply in [announced, unannounced] {
        let (reason, retriable, message) = failure(vec![reply]).await;
        assert_eq!((reason, retriable), ("FileTooLarge", false));
        assert!(message.contains("the limit is 1048576"), "{message}");
    }
}

#[tokio::test]
async fn hostile_and_foreign_files_are_permanent_failures() {
    let overlap = r#"{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},"b":{"dtype":"F32","shape":[2],"data_offsets":[4,12]}}"#;
    let whole = tiny_checkpoint();
    let cases: [(&str, Vec<u8>); 4] = [
        ("the header's length lies", u64::MAX.to_le_bytes().to_vec()),
        ("a header of 2 GB", [&(2_u64 << 30).to_le_bytes()[..], b"{\"a\":"].concat()),
        ("overlapping tensors", with_header(overlap, &[0; 12])),
        ("cut at its source", whole[..whole.len() - 1].to_vec()),
    ];
    for (name, bytes) in cases {
        let (reason, retriable, message) = failure(vec![Reply::file(&bytes)]).await;
        assert!(!retriable, "{name}: {reason} {message}");
        assert!(message.starts_with("m.safetensors is not usable"), "{name}: {message}");
    }
    let cases: [(&str, &[u8], &str); 3] = [
        (
            "a cut pickle",
            b"\x80\x02}q\x00(X\x05\x00\x00\x00modelq\x01",
            "is a pickle that cannot be rewritten",
        ),
        ("a pickle that runs a program", b"\x80\x02cos\nsystem\nq\x00.", "os.system"),
        ("a cut zip", b"PK\x03\x04\x14\x00\x00\x00\x08\x00archive/data.pkl", "cannot be unpacked"),
    ];
    for (name, bytes, want) in cases {
        let (reason, retriable, message) = failure(vec![Reply::file(bytes)]).await;
        assert!(!retriable && message.contains(want), "{name}: {reason} {message}");
    }
}

#[tokio::test]
async fn a_lora_is_no_checkpoint() {
    let (reason, retriable, message) = failure(vec![Reply::file(&lora())]).await;
    assert_eq!((reason, retriable), ("WrongModelType", false));
    assert!(message.contains("type Checkpoint") && message.contains("of type Lora"), "{message}");
}

#[tokio::test]
async fn a_wrong_checksum_names_both() {
    let file = tiny_checkpoint();
    let origin = Origin::start(vec![Reply::file(&file)]).await;
    let facade = FakeFacade::start().await;
    let expected = "0".repeat(64);
    let from = From::Http { url: origin.url(), headers: vec![] };
    facade.import_task("Checkpoint", from, Some(expected.clone()));
    let directory = tempfile::tempdir().unwrap();
    let report = import(&import_config(&facade, &directory)).await.unwrap_err().report();
    assert_eq!((report.reason.as_str(), report.retriable), ("ChecksumMismatch", false));
    for hash in [expected, sha256_hex(&file)] {
        assert!(report.message.contains(&hash), "{}", report.message);
    }
}
