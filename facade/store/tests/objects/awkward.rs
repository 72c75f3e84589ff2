//! Keys that make trouble.

use std::time::Duration;

use easel_store::objects::{Audience, ObjectStore as _, ResponseHeaders};
use reqwest::StatusCode;

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
