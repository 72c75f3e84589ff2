//! Uploads in parts.

use std::time::Duration;

use easel_store::objects::{Audience, ObjectError, ObjectStore as _, Part, abort_stale_uploads};
use jiff::{SignedDuration, Timestamp};
use reqwest::StatusCode;
use reqwest::header::ETAG;

use crate::fixture::{Fixture, key};
use crate::round_trips::pattern;

const HOUR: Duration = Duration::from_secs(3600);
const PART: usize = 5 << 20;

pub async fn parts_become_one_object(fixture: Fixture) {
    let (store, http) = (&fixture.store, &fixture.http);
    let key = key("models/studio/m/upload/easel demo.safetensors");
    let bodies = [pattern(1, PART), pattern(2, PART + 1), pattern(3, 77)];
    let upload = store.create_upload(&key, "application/octet-stream").await.unwrap();
    let mut parts = Vec::new();
    for (number, body) in (1..).zip(&bodies) {
        let audience = match number {
            1 => Audience::Worker,
            _ => Audience::Public(Some(fixture.public.clone())),
        };
        let url = store.presign_part(&key, &upload, number, &audience, HOUR).await.unwrap();
        // The first one twice, as after a broken connection.
        let mut answer = http.put(url.as_str()).body(body.clone()).send().await.unwrap();
        if number == 1 {
            answer = http.put(url.as_str()).body(body.clone()).send().await.unwrap();
        }
        assert_eq!(answer.status(), StatusCode::OK);
        let etag = answer.headers()[ETAG].to_str().unwrap().to_owned();
        parts.push(Part { number, etag });
    }
    assert_eq!(store.head(&key).await.unwrap(), None, "not there before it is complete");
    parts[1].etag = parts[1].etag.trim_matches('"').to_owned();
    parts.rotate_left(1);
    let meta = store.complete_upload(&key, &upload, &parts).await.unwrap();
    assert_eq!((meta.size, meta.etag.ends_with("-3")), ((2 * PART + 78) as u64, true), "{meta:?}");
    assert_eq!(meta.content_type.as_deref(), Some("application/octet-stream"));
    let object = store.get(&key, None).await.unwrap();
    assert!(object.bytes(usize::MAX).await.unwrap() == bodies.concat(), "the bytes differ");
    let url = store.presign_part(&key, &upload, 4, &Audience::Worker, HOUR).await.unwrap();
    let late = http.put(url.as_str()).body("late").send().await.unwrap();
    assert_eq!(late.status(), StatusCode::NOT_FOUND, "the upload is over");
    let again = store.complete_upload(&key, &upload, &parts).await;
    assert!(matches!(again, Err(ObjectError::NoSuchUpload { .. })) || again.is_ok(), "{again:?}");
}

pub async fn wrong_parts_are_refused(fixture: Fixture) {
    let store = &fixture.store;
    let key = key("wrong/parts");
    let upload = store.create_upload(&key, "x/y").await.unwrap();
    let small = store.put_part(&key, &upload, 1, pattern(1, 100)).await.unwrap();
    let last = store.put_part(&key, &upload, 2, pattern(2, 100)).await.unwrap();
    let absent = Part { number: 3, etag: last.etag.clone() };
    let other = Part { etag: last.etag.clone(), ..small.clone() };
    let cases = [
        ("none", vec![]),
        ("one that was never uploaded", vec![small.clone(), absent]),
        ("another ETag", vec![other]),
        ("a small one before the last", vec![small.clone(), last.clone()]),
    ];
    for (name, parts) in cases {
        let refused = store.complete_upload(&key, &upload, &parts).await;
        assert!(matches!(refused, Err(ObjectError::InvalidPart { .. })), "{name}: {refused:?}");
        assert_eq!(store.head(&key).await.unwrap(), None, "{name}");
    }
    let meta = store.complete_upload(&key, &upload, &[last]).await.expect("still open");
    assert_eq!(meta.size, 100);
    for number in [0, 10_001] {
        let refused = store.presign_part(&key, &upload, number, &Audience::Worker, HOUR).await;
        assert!(matches!(refused, Err(ObjectError::Invalid { .. })), "{number}");
    }
}

pub async fn uploads_can_be_given_up(fixture: Fixture) {
    let store = &fixture.store;
    let (one, two) = (key("up/one"), key("up/two"));
    let first = store.create_upload(&one, "x/y").await.unwrap();
    let second = store.create_upload(&two, "x/y").await.unwrap();
    store.put_part(&two, &second, 1, pattern(1, 100)).await.unwrap();
    store.abort_upload(&one, &first).await.unwrap();
    store.abort_upload(&one, &first).await.expect("absent is fine");
    let refused = store.put_part(&one, &first, 1, pattern(1, 1)).await;
    assert!(matches!(refused, Err(ObjectError::NoSuchUpload { .. })), "{refused:?}");

    let hour = SignedDuration::from_hours(1);
    assert_eq!(store.stale_uploads(Timestamp::now() - hour).await.unwrap(), vec![]);
    let stale = store.stale_uploads(Timestamp::now() + hour).await.unwrap();
    let stale: Vec<_> = stale.into_iter().map(|upload| (upload.key, upload.upload_id)).collect();
    assert_eq!(stale, [(two.clone(), second)]);
    assert_eq!(abort_stale_uploads(store, Timestamp::now() + hour).await.unwrap(), 1);
    assert_eq!(abort_stale_uploads(store, Timestamp::now() + hour).await.unwrap(), 0);
    assert_eq!(store.head(&two).await.unwrap(), None);
}
