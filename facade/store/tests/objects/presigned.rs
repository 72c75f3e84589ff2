//! Presigned URLs, used by a client that knows nothing of S3.

use std::time::{Duration, Instant};

use easel_store::objects::{Audience, ObjectStore as _, ResponseHeaders};
use reqwest::StatusCode;
use reqwest::header::{CONTENT_DISPOSITION, CONTENT_TYPE, ETAG, RANGE};

use crate::fixture::{BUCKET, Fixture, key};
use crate::round_trips::pattern;

const HOUR: Duration = Duration::from_secs(3600);

/// Each audience with the address that its URLs have to begin with.
fn audiences(fixture: &Fixture) -> [(Audience, String); 2] {
    let origin = |url: &url::Url| url.as_str().trim_end_matches('/').to_owned();
    [
        (Audience::Worker, origin(&fixture.worker)),
        (Audience::Public(Some(fixture.public.clone())), origin(&fixture.public)),
    ]
}

pub async fn plain_clients_read_for_both_audiences(fixture: Fixture) {
    let (store, http) = (&fixture.store, &fixture.http);
    let (key, body) = (key("out/j/result/a b+c.png"), pattern(1, 100_000));
    store.put(&key, body.clone(), "image/png").await.unwrap();
    for (audience, origin) in audiences(&fixture) {
        let url = store.presign_get(&key, &audience, HOUR, &ResponseHeaders::default()).await.unwrap();
        let (address, query) = url.as_str().split_once('?').unwrap();
        assert_eq!(address, format!("{origin}/{BUCKET}/out/j/result/a%20b%2Bc.png"));
        assert!(!query.contains('/'), "clients that split at \"/\" get along with {query}");
        let answer = http.get(url.as_str()).send().await.unwrap();
        assert_eq!(answer.status(), StatusCode::OK);
        assert_eq!(answer.headers()[CONTENT_TYPE], "image/png");
        assert_eq!(answer.bytes().await.unwrap(), body);
        let answer = http.get(url.as_str()).header(RANGE, "bytes=10-19").send().await.unwrap();
        assert_eq!(answer.status(), StatusCode::PARTIAL_CONTENT);
        assert_eq!(answer.headers()["content-range"], "bytes 10-19/100000");
        assert_eq!(answer.bytes().await.unwrap(), body.slice(10..20));

        let headers =
            ResponseHeaders { content_type: Some("x/y".into()), file_name: Some("ü \"x\".png".into()) };
        let url = store.presign_get(&key, &audience, HOUR, &headers).await.unwrap();
        let answer = http.get(url.as_str()).send().await.unwrap();
        assert_eq!(answer.headers()[CONTENT_TYPE], "x/y");
        let disposition = answer.headers()[CONTENT_DISPOSITION].to_str().unwrap();
        assert_eq!(disposition, "inline; filename=\"_ _x_.png\"; filename*=UTF-8''%C3%BC%20%22x%22.png");
    }
}

pub async fn plain_clients_write_for_both_audiences(fixture: Fixture) {
    let (store, http) = (&fixture.store, &fixture.http);
    for (number, (audience, _)) in audiences(&fixture).into_iter().enumerate() {
        let typed = key(&format!("typed/{number}"));
        let url = store.presign_put(&typed, &audience, HOUR, Some("image/png")).await.unwrap();
        let put = http.put(url.as_str()).body(pattern(2, 5000));
        let wrong = put.try_clone().unwrap().header(CONTENT_TYPE, "text/html").send().await.unwrap();
        assert_eq!(wrong.status(), StatusCode::FORBIDDEN, "signed for another content type");
        assert_eq!(store.head(&typed).await.unwrap(), None);
        let right = put.header(CONTENT_TYPE, "image/png").send().await.unwrap();
        assert_eq!(right.status(), StatusCode::OK);
        let etag = right.headers()[ETAG].to_str().unwrap().to_owned();
        let meta = store.head(&typed).await.unwrap().unwrap();
        assert_eq!((meta.size, meta.content_type.as_deref()), (5000, Some("image/png")));
        assert_eq!(etag, format!("\"{}\"", meta.etag));

        let free = key(&format!("free/{number}"));
        let url = store.presign_put(&free, &audience, HOUR, None).await.unwrap();
        let put = http.put(url.as_str()).body(pattern(3, 10));
        assert_eq!(put.send().await.unwrap().status(), StatusCode::OK);
        let put = http.put(url.as_str()).header(CONTENT_TYPE, "text/plain").body(pattern(4, 10));
        assert_eq!(put.send().await.unwrap().status(), StatusCode::OK, "any content type");
        assert_eq!(store.get(&free, None).await.unwrap().bytes(99).await.unwrap(), pattern(4, 10));
    }
}

pub async fn a_url_permits_one_thing_only(fixture: Fixture) {
    let (store, http) = (&fixture.store, &fixture.http);
    store.put(&key("mine"), pattern(1, 10), "text/plain").await.unwrap();
    store.put(&key("other"), pattern(2, 10), "text/plain").await.unwrap();
    let audience = Audience::Public(Some(fixture.public.clone()));
    let get = store.presign_get(&key("mine"), &audience, HOUR, &ResponseHeaders::default()).await.unwrap();
    let get = get.as_str();
    let put = store.presign_put(&key("mine"), &audience, HOUR, None).await.unwrap().into_string();
    let forged = {
        let (begin, last) = get.split_at(get.len() - 1);
        // Whatever comes last, the signature does not fit any more.
        format!("{begin}{}", if last == "0" { "1" } else { "0" })
    };
    let bucket = format!("/{BUCKET}/");
    let cases = [
        ("forged", reqwest::Method::GET, forged),
        ("another object", reqwest::Method::GET, get.replace("/mine?", "/other?")),
        ("another bucket", reqwest::Method::GET, get.replace(&bucket, "/elsewhere/")),
        ("another method", reqwest::Method::PUT, get.to_owned()),
        ("another method", reqwest::Method::DELETE, get.to_owned()),
        ("another method", reqwest::Method::GET, put.clone()),
        ("another host", reqwest::Method::GET, get.replace("127.0.0.1", "localhost")),
        ("longer life", reqwest::Method::GET, get.replace("X-Amz-Expires=3600", "X-Amz-Expires=36000")),
        ("no signature", reqwest::Method::GET, get.split('?').next().unwrap().to_owned()),
        ("no signature", reqwest::Method::PUT, get.split('?').next().unwrap().to_owned()),
        ("list of the bucket", reqwest::Method::GET, format!("{}{BUCKET}", fixture.public)),
    ];
    for (name, method, url) in cases {
        let answer = http.request(method.clone(), &url).body("").send().await.unwrap();
        let status = answer.status();
        let refused =
            matches!(status, StatusCode::FORBIDDEN | StatusCode::BAD_REQUEST | StatusCode::NOT_FOUND);
        assert!(refused, "{name}: {method} answered {status}");
        let text = answer.text().await.unwrap();
        assert!(!text.as_bytes().windows(10).any(|part| part == pattern(2, 10)), "{name}");
    }
    assert_eq!(store.get(&key("mine"), None).await.unwrap().bytes(99).await.unwrap(), pattern(1, 10));
    assert_eq!(http.get(get).send().await.unwrap().status(), StatusCode::OK, "as it was made");
}

pub async fn a_url_ends(fixture: Fixture) {
    let (store, http) = (&fixture.store, &fixture.http);
    store.put(&key("k"), pattern(1, 10), "text/plain").await.unwrap();
    let second = Duration::from_millis(10);
    let url =
        store.presign_get(&key("k"), &Audience::Worker, second, &ResponseHeaders::default()).await.unwrap();
    assert!(url.as_str().contains("X-Amz-Expires=1&"), "the shortest life is a second");
    let deadline = Instant::now() + Duration::from_secs(20);
    loop {
        let status = http.get(url.as_str()).send().await.unwrap().status();
        if status == StatusCode::FORBIDDEN || status == StatusCode::BAD_REQUEST {
            break;
        }
        assert_eq!(status, StatusCode::OK);
        assert!(Instant::now() < deadline, "it never ends");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let long = Duration::from_secs(90 * 86_400);
    let url = store.presign_put(&key("k"), &Audience::Worker, long, None).await.unwrap();
    assert!(url.as_str().contains("X-Amz-Expires=604800&"), "the longest life is a week");
}
