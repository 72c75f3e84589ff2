//! Files fetched in parts: over several connections, from servers with faults, continued by a later transfer.

use std::path::PathBuf;
use std::sync::Mutex;
use std::time::Duration;

use easel_runtime::backoff::Backoff;
use easel_runtime::fetch::{FetchError, FetchPolicy, PartFile, PlainSource, Progress, Received, fetch_file};
use tempfile::TempDir;

use crate::support::{Fault, RangedServer, sha256_hex};

const PART: u64 = 64 << 10;

/// Bytes that no two places have in common.
fn content(seed: u64, len: usize) -> Vec<u8> {
    let mut state = seed;
    let mut next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) as u8
    };
    (0..len).map(|_| next()).collect()
}

fn policy() -> FetchPolicy {
    FetchPolicy {
        stall: Duration::from_millis(400),
        fruitless_retries: 3,
        backoff: Backoff::new(Duration::from_millis(1), Duration::from_millis(5)),
        connections: 4,
        part_bytes: PART,
        ..FetchPolicy::new(8 << 20)
    }
}

/// A place to fetch to.
struct Place {
    directory: TempDir,
    told: Mutex<Vec<Progress>>,
}

impl Place {
    fn new() -> Self {
        easel_runtime::net::install_tls();
        Self { directory: tempfile::tempdir().unwrap(), told: Mutex::default() }
    }

    fn path(&self) -> PathBuf {
        self.directory.path().join("m.part")
    }

    async fn fetch(&self, server: &RangedServer, policy: &FetchPolicy) -> Result<Received, FetchError> {
        let http = easel_runtime::net::plain_client().unwrap();
        let source = PlainSource { http, url: server.url().parse().unwrap() };
        let part = PartFile::new(self.path(), "m");
        self.told.lock().unwrap().clear();
        fetch_file(&source, &part, policy, &mut |progress| self.told.lock().unwrap().push(progress)).await
    }

    /// Begins a transfer, slow enough to be caught, and drops it when `bytes` are there.
    async fn begin(&self, server: &RangedServer, policy: &FetchPolicy, bytes: u64) {
        server.throttle(4 << 20);
        let stop = async {
            loop {
                let received = self.told.lock().unwrap().last().map_or(0, |progress| progress.received);
                if received >= bytes {
                    return;
                }
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        };
        tokio::select! {
            ended = self.fetch(server, policy) => panic!("it ended before it was stopped: {ended:?}"),
            () = stop => {}
        }
        server.throttle(1 << 30);
    }

    fn holds(&self, received: &Received, want: &[u8], case: &str) {
        assert_eq!(received.size_bytes, want.len() as u64, "{case}");
        assert_eq!(received.sha256, sha256_hex(want), "{case}");
        assert!(std::fs::read(self.path()).unwrap() == want, "{case}: the file is the one at the server");
    }
}

#[tokio::test]
async fn parts_from_several_connections_make_the_file() {
    let (place, bytes) = (Place::new(), content(1, 1_000_003));
    let server = RangedServer::start(bytes.clone()).await;
    // Requests are counted: a pause of a busy machine must not lead to another one.
    let patient = FetchPolicy { stall: Duration::from_secs(30), ..policy() };
    let received = place.fetch(&server, &patient).await.unwrap();
    place.holds(&received, &bytes, "four connections");
    let requests = server.requests();
    assert_eq!(requests[0], "", "what the server is, is asked without a range");
    assert_eq!(requests.len(), bytes.len().div_ceil(PART as usize), "the first answer is part 0");
    let told = place.told.lock().unwrap();
    assert!(told.windows(2).all(|pair| pair[0].received <= pair[1].received), "progress never goes back");
    let end = Progress { received: bytes.len() as u64, total: Some(bytes.len() as u64) };
    assert_eq!(*told.last().unwrap(), end);
}

#[tokio::test]
async fn without_ranges_or_anything_to_tell_versions_apart_one_connection_fetches_all() {
    let bytes = content(2, 500_000);
    type Case = (&'static str, fn(&RangedServer), bool, bool);
    let cases: [Case; 4] = [
        ("no ranges", RangedServer::without_ranges, false, false),
        ("no ranges, a known hash", RangedServer::without_ranges, true, false),
        ("no validator", RangedServer::without_etag, false, false),
        ("no validator, a known hash", RangedServer::without_etag, true, true),
    ];
    for (case, change, hash_known, in_parts) in cases {
        let (place, server) = (Place::new(), RangedServer::start(bytes.clone()).await);
        change(&server);
        let policy = FetchPolicy { hash_known, ..policy() };
        let received = place.fetch(&server, &policy).await.unwrap();
        place.holds(&received, &bytes, case);
        assert_eq!(server.requests().len() > 1, in_parts, "{case}");
    }
}

#[tokio::test]
async fn faults_of_the_way_are_outlived() {
    use Fault::*;
    let bytes = content(3, 600_000);
    let cases: [(&str, &[Fault]); 7] = [
        ("busy", &[Status(503), Status(503), Status(429), Status(500)]),
        ("connections that break", &[Cut(0), Cut(1), Cut(40_000), Cut(65_535), Cut(70_000)]),
        ("silence", &[Stall(0), Stall(30_000)]),
        ("a range that begins elsewhere", &[WrongRange, WrongRange]),
        ("a server that ignores ranges", &[IgnoreRange; 40]),
        ("always another range", &[WrongRange; 40]),
        ("all at once", &[Status(503), Cut(9), Stall(10), WrongRange, Cut(50_000), IgnoreRange]),
    ];
    for (case, faults) in cases {
        let (place, server) = (Place::new(), RangedServer::start(bytes.clone()).await);
        server.faults(faults);
        let received = place.fetch(&server, &policy()).await;
        place.holds(&received.unwrap_or_else(|error| panic!("{case}: {error}")), &bytes, case);
    }
}

#[tokio::test]
async fn parts_of_two_versions_are_never_mixed() {
    let (old, new) = (content(4, 700_000), content(5, 700_000));
    // A server that heeds If-Range sends all of the new file; one that does not shows another ETag.
    for heeds in [true, false] {
        let (place, server) = (Place::new(), RangedServer::start(old.clone()).await);
        place.begin(&server, &policy(), 200_000).await;
        server.replace(new.clone(), "\"v2\"");
        if !heeds {
            server.faults(&[Fault::OtherEtag; 2]);
        }
        let received = place.fetch(&server, &policy()).await.unwrap();
        place.holds(&received, &new, "the newer file");
    }
    let (place, server) = (Place::new(), RangedServer::start(old).await);
    server.faults(&[Fault::OtherEtag; 1000]);
    let error = place.fetch(&server, &policy()).await.unwrap_err();
    assert_eq!((error.reason(), error.retriable()), ("SourceChanged", true));
}

#[tokio::test]
async fn a_server_that_serves_one_at_a_time_is_asked_by_one() {
    let (place, bytes) = (Place::new(), content(6, 900_000));
    let server = RangedServer::start(bytes.clone()).await;
    server.at_most(1);
    server.throttle(8 << 20);
    let received = place.fetch(&server, &FetchPolicy { fruitless_retries: 40, ..policy() }).await.unwrap();
    place.holds(&received, &bytes, "429 to all others");
}

/// Of `bytes=5-9`: 5.
fn length_of(range: &str) -> u64 {
    let (from, last) = range.strip_prefix("bytes=").and_then(|range| range.split_once('-')).unwrap();
    last.parse::<u64>().unwrap() - from.parse::<u64>().unwrap() + 1
}

#[tokio::test]
async fn a_later_transfer_fetches_only_what_is_missing() {
    let (place, bytes) = (Place::new(), content(7, 2_000_000));
    let server = RangedServer::start(bytes.clone()).await;
    place.begin(&server, &policy(), 1_000_000).await;
    let before = server.requests().len();
    let received = place.fetch(&server, &policy()).await.unwrap();
    place.holds(&received, &bytes, "continued");
    let first = place.told.lock().unwrap()[0];
    assert!(first.received >= 1_000_000 - 4 * PART, "what is there counts from the start: {first:?}");
    let missing = bytes.len() as u64 - first.received;
    let asked: u64 = server.requests()[before..].iter().map(|range| length_of(range)).sum();
    assert_eq!(asked, missing, "nothing is asked for twice");
    // All there: one byte tells that the file is still the same.
    let before = server.requests().len();
    let received = place.fetch(&server, &policy()).await.unwrap();
    place.holds(&received, &bytes, "again");
    assert_eq!(server.requests()[before..], ["bytes=1999999-1999999"]);
}

#[tokio::test]
async fn what_is_left_counts_only_for_the_same_file_in_the_same_state() {
    let bytes = content(8, 400_000);
    type Case = (&'static str, fn(&Place));
    let cases: [Case; 3] = [
        ("a shorter file", |place| {
            std::fs::OpenOptions::new().write(true).open(place.path()).unwrap().set_len(300_000).unwrap();
        }),
        ("no file", |place| std::fs::remove_file(place.path()).unwrap()),
        ("another record", |place| {
            std::fs::write(place.directory.path().join("m.part.ranges"), "{}\n1\n").unwrap();
        }),
    ];
    for (case, spoil) in cases {
        let (place, server) = (Place::new(), RangedServer::start(bytes.clone()).await);
        place.begin(&server, &policy(), 200_000).await;
        spoil(&place);
        let received = place.fetch(&server, &policy()).await.unwrap();
        place.holds(&received, &bytes, case);
    }
}

#[tokio::test]
async fn failures_end_the_transfer_and_keep_its_parts() {
    let bytes = content(9, 800_000);
    let (place, server) = (Place::new(), RangedServer::start(bytes.clone()).await);
    place.begin(&server, &policy(), 400_000).await;
    server.faults(&[Fault::Status(503); 200]);
    let error = place.fetch(&server, &policy()).await.unwrap_err();
    assert_eq!((error.reason(), error.retriable()), ("SourceUnavailable", true));
    assert!(!error.to_string().contains("secret"), "{error}");
    let gone = RangedServer::start(bytes.clone()).await;
    gone.faults(&[Fault::Status(404); 20]);
    assert_eq!(place.fetch(&gone, &policy()).await.unwrap_err().reason(), "SourceNotFound");
    let healed = RangedServer::start(bytes.clone()).await;
    let received = place.fetch(&healed, &policy()).await.unwrap();
    place.holds(&received, &bytes, "healed");
    assert!(healed.sent() < 800_000, "{} bytes: the parts of the first try are used", healed.sent());
    let small = FetchPolicy { max_bytes: 799_999, ..policy() };
    let error = Place::new().fetch(&healed, &small).await.unwrap_err();
    assert_eq!((error.reason(), error.retriable()), ("FileTooLarge", false));
}
