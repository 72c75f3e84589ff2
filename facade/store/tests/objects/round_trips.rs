//! In and out through our own client.

use bytes::Bytes;
use easel_store::objects::{
    ListPage, Listed, ObjectError, ObjectMeta, ObjectStore as _, PutStreamError, abort_stale_uploads,
    put_stream,
};
use futures::future::join_all;
use futures::stream;
use jiff::{SignedDuration, Timestamp};

use crate::fixture::{Fixture, key};

/// Bytes that differ from place to place.
pub fn pattern(seed: u8, length: usize) -> Bytes {
    (0..length).map(|i| (i % 251) as u8 ^ seed).collect::<Vec<_>>().into()
}

pub async fn an_object_comes_back_as_it_went(fixture: Fixture) {
    let store = &fixture.store;
    store.ping().await.unwrap();
    let key = key("out/1/result/image_0.png");
    assert_eq!(store.head(&key).await.unwrap(), None);
    assert!(
        matches!(store.get(&key, None).await, Err(ObjectError::NotFound { key }) if key.ends_with("_0.png"))
    );
    store.delete(&key).await.expect("absent is fine");
    for (body, content_type) in [(pattern(1, 300_000), "image/png"), (Bytes::new(), "text/plain")] {
        let put = store.put(&key, body.clone(), content_type).await.unwrap();
        let want = ObjectMeta {
            size: body.len() as u64,
            etag: put.etag.clone(),
            content_type: Some(content_type.to_owned()),
        };
        assert_eq!(put.etag.len(), 32);
        assert_eq!(store.head(&key).await.unwrap(), Some(want.clone()));
        let object = store.get(&key, None).await.unwrap();
        assert_eq!(object.meta, want);
        assert_eq!(object.bytes(1 << 20).await.unwrap(), body);
    }
    store.put(&key, pattern(2, 100), "image/png").await.unwrap();
    let too_large = store.get(&key, None).await.unwrap().bytes(99).await;
    assert!(matches!(too_large, Err(ObjectError::TooLarge { size: 100, limit: 99, .. })));
    store.delete(&key).await.unwrap();
    assert_eq!(store.head(&key).await.unwrap(), None);
}

pub async fn ranges_are_parts_of_the_object(fixture: Fixture) {
    let store = &fixture.store;
    let (key, body) = (key("a/b"), pattern(3, 700_000));
    store.put(&key, body.clone(), "application/octet-stream").await.unwrap();
    for range in [0..1, 5..10, 0..700_000, 699_999..700_000, 262_143..524_289] {
        let object = store.get(&key, Some(range.start..range.end)).await.unwrap();
        assert_eq!(object.meta.size, 700_000, "{range:?}");
        let (start, end) = (range.start as usize, range.end as usize);
        assert_eq!(object.bytes(1 << 20).await.unwrap(), body.slice(start..end), "{start}..{end}");
    }
    let beyond = store.get(&key, Some(600_000..900_000)).await.unwrap();
    assert_eq!(beyond.bytes(1 << 20).await.unwrap(), body.slice(600_000..));
    assert!(store.get(&key, Some(700_000..700_001)).await.is_err(), "behind the end");
    assert!(matches!(store.get(&key, Some(5..5)).await, Err(ObjectError::Invalid { .. })));
}

pub async fn lists_are_in_order_and_join(fixture: Fixture) {
    let store = &fixture.store;
    let mut keys: Vec<String> = (0..25).map(|i| format!("out/{}/n{i}", i % 3)).collect();
    keys.extend(["out/0.txt", "out/0-", "output", "models/m"].map(str::to_owned));
    let before = Timestamp::now();
    for name in &keys {
        store.put(&key(name), pattern(0, name.len()), "text/plain").await.unwrap();
    }
    keys.retain(|key| key.starts_with("out/"));
    keys.sort();
    let (mut joined, mut after) = (Vec::new(), None::<String>);
    for _ in 0..4 {
        let page = store.list("out/", after.as_deref(), 10).await.unwrap();
        joined.extend(page.objects);
        after = page.next;
        if after.is_none() {
            break;
        }
    }
    let plain = |listed: &Listed| (listed.key.clone(), listed.size);
    let want: Vec<_> = keys.iter().map(|key| (key.clone(), key.len() as u64)).collect();
    assert_eq!(joined.iter().map(plain).collect::<Vec<_>>(), want);
    // Services cut the time to seconds, and the clock is this machine's.
    let (early, late) =
        (before - SignedDuration::from_secs(2), Timestamp::now() + SignedDuration::from_secs(2));
    for Listed { key, modified, .. } in &joined {
        let modified = modified.unwrap_or_else(|| panic!("{key} has no time"));
        assert!(early <= modified && modified <= late, "{key}: {modified}");
    }
    assert_eq!(store.list("out/1/n1", None, 1000).await.unwrap().objects.len(), 5, "1, 10, 13, 16, 19");
    assert_eq!(store.list("nothing/", None, 10).await.unwrap(), ListPage::default());
}

pub async fn writers_do_not_mix(fixture: Fixture) {
    let store = &fixture.store;
    // versitygw deletes an emptied folder under a writer who is just about to use it, and answers 409
    // ExistingObjectIsDirectory. A lasting neighbour keeps the shared folder; the embedded service does without.
    let lasting = usize::from(!fixture.is_embedded());
    if lasting == 1 {
        store.put(&key("own/lasting"), pattern(0, 1), "text/plain").await.unwrap();
    }
    let one = key("shared");
    let writers = (0..8_u8).map(|seed| {
        let (store, one) = (store.clone(), one.clone());
        tokio::spawn(async move {
            store.put(&one, pattern(seed, 200_000 + usize::from(seed)), "text/plain").await.unwrap();
            let own = key(&format!("own/{seed}/deep/x"));
            store.put(&own, pattern(seed, 1000), "text/plain").await.unwrap();
            store.delete(&own).await.unwrap();
            store.put(&own, pattern(seed, 1000), "text/plain").await.unwrap();
        })
    });
    for writer in join_all(writers).await {
        writer.unwrap();
    }
    let object = store.get(&one, None).await.unwrap();
    let seed = u8::try_from(object.meta.size - 200_000).unwrap();
    assert_eq!(object.bytes(1 << 20).await.unwrap(), pattern(seed, 200_000 + usize::from(seed)));
    assert_eq!(store.list("own/", None, 100).await.unwrap().objects.len(), 8 + lasting);
}

pub async fn streams_of_any_length_are_stored_or_leave_nothing(fixture: Fixture) {
    const LIMIT: u64 = 20 << 20;
    let store = &fixture.store;
    let chunks = |length: usize, breaks: bool| {
        let body = pattern(7, length);
        let starts: Vec<usize> = (0..length).step_by(100_000).collect();
        let mut chunks: Vec<_> =
            starts.iter().map(|&at| Ok(body.slice(at..(at + 100_000).min(length)))).collect();
        if breaks {
            chunks.push(Err(std::io::Error::other("cable cut")));
        }
        stream::iter(chunks)
    };
    for length in [0, 1, (8 << 20) - 1, 8 << 20, (16 << 20) + 5] {
        let key = key(&format!("streams/{length}"));
        let meta = put_stream(store, &key, chunks(length, false), "x/y", LIMIT).await.unwrap();
        assert_eq!(meta.size, length as u64);
        let object = store.get(&key, None).await.unwrap();
        assert_eq!(object.meta.content_type.as_deref(), Some("x/y"));
        assert!(object.bytes(usize::MAX).await.unwrap() == pattern(7, length), "{length} bytes differ");
    }
    for (length, breaks) in [(1000, true), (9 << 20, true), (21 << 20, false)] {
        let key = key("streams/none");
        let error = put_stream(store, &key, chunks(length, breaks), "x/y", LIMIT).await.unwrap_err();
        assert_eq!(matches!(error, PutStreamError::Sender { .. }), breaks, "{error}");
        assert_eq!(store.head(&key).await.unwrap(), None);
    }
    let later = Timestamp::now() + SignedDuration::from_hours(1);
    assert_eq!(abort_stale_uploads(store, later).await.unwrap(), 0, "no upload stays open");
}
