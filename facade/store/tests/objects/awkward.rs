//! Keys and clients that make trouble.

use std::time::{Duration, Instant};

use easel_store::objects::{Audience, ObjectStore as _, ResponseHeaders};
use reqwest::StatusCode;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::fixture::{Fixture, key};
use crate::round_trips::pattern;

const HOUR: Duration = Duration::from_secs(3600);

pub async fn awkward_keys_are_keys(fixture: Fixture) {
    let (store, http) = (&fixture.store, &fixture.http);
    let long = format!("long/{}/{}", "x".repeat(200), "y".repeat(200));
    let mut keys = [
        "a b",
        "a+b",
        "a%20b",
        "%2e%2e/x",
        "a%2Fb",
        "=a",
        "d=/=e",
        "%=/a",
        "q?x=1&y#z",
        "üñ/图 🎨.png",
        "...",
        ".hidden/x",
        "quote\"'<>&",
        "semi;colon,comma",
        "tilde~star*(paren)[x]{y}",
        "back\\slash",
        "$dollar@at!:",
        &long,
    ];
    keys.sort_unstable();
    for (seed, name) in (0..).zip(keys) {
        let key = key(name);
        store
            .put(&key, pattern(seed, 50), "text/plain")
            .await
            .unwrap_or_else(|error| panic!("{name}: {error:?}"));
        let url =
            store.presign_get(&key, &Audience::Worker, HOUR, &ResponseHeaders::default()).await.unwrap();
        let answer = http.get(url.as_str()).send().await.unwrap();
        assert_eq!(answer.status(), StatusCode::OK, "{name}");
        assert_eq!(answer.bytes().await.unwrap(), pattern(seed, 50), "{name}");
        let url = store.presign_put(&key, &Audience::Worker, HOUR, None).await.unwrap();
        let put = http.put(url.as_str()).body(pattern(seed + 100, 60)).send().await.unwrap();
        assert_eq!(put.status(), StatusCode::OK, "{name}");
    }
    let listed = store.list("", None, 100).await.unwrap().objects;
    assert_eq!(listed.iter().map(|object| object.key.as_str()).collect::<Vec<_>>(), keys);
    for (seed, name) in (100..).zip(keys) {
        let object = store.get(&key(name), None).await.unwrap();
        assert_eq!(object.bytes(99).await.unwrap(), pattern(seed, 60), "{name}");
        store.delete(&key(name)).await.unwrap();
    }
    assert_eq!(store.list("", None, 100).await.unwrap().objects, vec![]);
}

/// Sends the head of a PUT and less body than it announces, then goes away.
pub async fn half_an_object_never_appears(fixture: Fixture) {
    let store = &fixture.store;
    let there = key("there");
    store.put(&there, pattern(1, 10), "text/plain").await.unwrap();
    for name in ["there", "never/there"] {
        let url = store.presign_put(&key(name), &Audience::Worker, HOUR, None).await.unwrap();
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
