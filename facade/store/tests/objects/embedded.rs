//! What only the embedded service promises.

use std::collections::BTreeSet;
use std::path::Path;
use std::time::{Duration, Instant};

use easel_store::objects::{
    Audience, EmbeddedError, EmbeddedS3, ObjectStore as _, ResponseHeaders, S3Body, S3Store,
};
use http::{Method, Request, StatusCode};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::fixture::{BUCKET, Fixture, key};
use crate::round_trips::pattern;

const MINUTE: Duration = Duration::from_secs(60);

async fn open(directory: &Path) -> (EmbeddedS3, S3Store) {
    let s3 = EmbeddedS3::open(directory, BUCKET).await.unwrap();
    let store = S3Store::embedded(&s3, "http://facade:8080".parse().unwrap(), None).unwrap();
    (s3, store)
}

/// Every file below the directory, by its path in it.
fn files(directory: &Path) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    let mut open = vec![directory.to_owned()];
    while let Some(directory_of) = open.pop() {
        for entry in std::fs::read_dir(directory_of).unwrap() {
            let entry = entry.unwrap();
            if entry.file_type().unwrap().is_dir() {
                open.push(entry.path());
            } else {
                found.insert(entry.path().strip_prefix(directory).unwrap().display().to_string());
            }
        }
    }
    found
}

#[tokio::test]
async fn a_restart_keeps_objects_uploads_and_urls() {
    let directory = tempfile::tempdir().unwrap();
    let (first, store) = open(directory.path()).await;
    store.put(&key("a"), pattern(1, 10), "text/plain").await.unwrap();
    store.put(&key("a/b"), pattern(2, 10), "text/plain").await.unwrap();
    let upload = store.create_upload(&key("a/b/c"), "x/y").await.unwrap();
    let part = store.put_part(&key("a/b/c"), &upload, 1, pattern(3, 10)).await.unwrap();
    let url =
        store.presign_get(&key("a"), &Audience::Worker, MINUTE, &ResponseHeaders::default()).await.unwrap();
    assert!(matches!(EmbeddedS3::open(directory.path(), BUCKET).await, Err(EmbeddedError::InUse { .. })));
    // What a process leaves that is killed while it writes.
    std::fs::write(directory.path().join("tmp/half"), "half").unwrap();
    drop((first, store));

    let (second, store) = open(directory.path()).await;
    assert!(!files(directory.path()).contains("tmp/half"));
    let request = Request::get(url.as_str()).header("host", "facade:8080").body(S3Body::empty()).unwrap();
    assert_eq!(second.call(request).await.status(), StatusCode::OK, "URLs live on");
    let meta = store.complete_upload(&key("a/b/c"), &upload, &[part]).await.unwrap();
    assert_eq!((meta.size, meta.content_type.as_deref()), (10, Some("x/y")));
    for (name, seed) in [("a", 1), ("a/b", 2), ("a/b/c", 3)] {
        let object = store.get(&key(name), None).await.unwrap();
        assert_eq!(object.bytes(99).await.unwrap(), pattern(seed, 10), "{name}");
    }
}

#[tokio::test]
async fn what_is_deleted_leaves_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let (_s3, store) = open(directory.path()).await;
    let empty = files(directory.path());
    let directories = || std::fs::read_dir(directory.path().join("objects")).unwrap().count();
    for name in ["a", "a/b/c", "a/b/d"] {
        store.put(&key(name), pattern(1, 10), "text/plain").await.unwrap();
    }
    let upload = store.create_upload(&key("u"), "x/y").await.unwrap();
    store.put_part(&key("u"), &upload, 1, pattern(3, 10)).await.unwrap();
    store.abort_upload(&key("u"), &upload).await.unwrap();
    store.delete(&key("a/b/c")).await.unwrap();
    assert_eq!(store.head(&key("a/b/d")).await.unwrap().map(|meta| meta.size), Some(10));
    for name in ["a/b/d", "a"] {
        store.delete(&key(name)).await.unwrap();
    }
    assert_eq!((files(directory.path()), directories()), (empty, 0));
}

#[tokio::test]
async fn pages_of_other_origins_may_use_urls() {
    let fixture = Fixture::embedded().await;
    let (store, http) = (&fixture.store, &fixture.http);
    let url = store.presign_put(&key("k"), &Audience::Worker, MINUTE, None).await.unwrap();
    let ask = http
        .request(Method::OPTIONS, url.as_str())
        .header("origin", "https://studio.example")
        .header("access-control-request-method", "PUT")
        .header("access-control-request-headers", "content-type");
    let answer = ask.send().await.unwrap();
    assert_eq!(answer.status(), StatusCode::NO_CONTENT);
    for (name, want) in [
        ("access-control-allow-origin", "*"),
        ("access-control-allow-methods", "GET, PUT, HEAD"),
        ("access-control-allow-headers", "content-type"),
    ] {
        assert_eq!(answer.headers()[name], want, "{name}");
    }
    let answer = http.put(url.as_str()).body("<script>").send().await.unwrap();
    assert_eq!(answer.headers()["access-control-allow-origin"], "*");
    assert!(answer.headers()["access-control-expose-headers"].to_str().unwrap().contains("ETag"));
    let refused = http.get(url.as_str()).send().await.unwrap();
    assert_eq!(refused.status(), StatusCode::FORBIDDEN);
    assert_eq!(refused.headers()["access-control-allow-origin"], "*", "a page can read why");
    let html = ResponseHeaders { content_type: Some("text/html".into()), file_name: None };
    let url = store.presign_get(&key("k"), &Audience::Worker, MINUTE, &html).await.unwrap();
    let page = http.get(url.as_str()).send().await.unwrap();
    assert!(page.headers()["content-security-policy"].to_str().unwrap().starts_with("sandbox"));
}

#[tokio::test]
async fn a_bucket_needs_a_name_of_a_bucket() {
    let directory = tempfile::tempdir().unwrap();
    for name in ["", "a", "A-b", "../x", "a/b"] {
        let error = EmbeddedS3::open(directory.path(), name).await.unwrap_err();
        assert!(matches!(error, EmbeddedError::Bucket { .. }), "{name}");
    }
}

/// Sends the head of a PUT and less body than it announces, then goes away. (versitygw 1.8.0 answers 200 to that and
/// keeps what it got, so whoever knows an object's size has to compare it.)
#[tokio::test]
async fn half_an_object_never_appears() {
    let fixture = Fixture::embedded().await;
    let store = &fixture.store;
    let there = key("there");
    store.put(&there, pattern(1, 10), "text/plain").await.unwrap();
    for name in ["there", "never/there"] {
        let url = store.presign_put(&key(name), &Audience::Worker, MINUTE, None).await.unwrap();
        let url: url::Url = url.as_str().parse().unwrap();
        let target = format!("{}?{}", url.path(), url.query().unwrap());
        let host = format!("{}:{}", url.host_str().unwrap(), url.port().unwrap());
        let mut connection = TcpStream::connect(("127.0.0.1", url.port().unwrap())).await.unwrap();
        let head = format!("PUT {target} HTTP/1.1\r\nHost: {host}\r\nContent-Length: 5000000\r\n\r\n");
        connection.write_all(head.as_bytes()).await.unwrap();
        connection.write_all(&pattern(2, 300_000)).await.unwrap();
        connection.shutdown().await.unwrap();
        // Until the service has noticed, and has closed its side.
        let mut answer = Vec::new();
        let closed = tokio::time::timeout(Duration::from_secs(20), connection.read_to_end(&mut answer)).await;
        closed.expect("the service hangs").ok();
        assert!(!answer.starts_with(b"HTTP/1.1 200"), "{}", String::from_utf8_lossy(&answer));
    }
    let object = store.get(&there, None).await.unwrap();
    assert_eq!(object.bytes(99).await.unwrap(), pattern(1, 10), "as it was");
    let deadline = Instant::now() + Duration::from_secs(1);
    while Instant::now() < deadline {
        assert_eq!(store.head(&key("never/there")).await.unwrap(), None);
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}
