//! A server of one file that answers for parts of it, and goes wrong when it is told to. Needs nothing else of the
//! tests, so that the measurement in `examples/transfer.rs` uses it as well.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::{HeaderMap, Response, StatusCode};
use futures::StreamExt;
use futures::stream;

const CHUNK: usize = 64 << 10;

/// What goes wrong with one request for a part (or, without ranges, for the file).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    Status(u16),
    /// Ends the connection after so many bytes of the body.
    Cut(usize),
    /// Says nothing more after so many bytes of the body.
    Stall(usize),
    /// Names another range than the one that was asked for.
    WrongRange,
    /// Sends the whole file.
    IgnoreRange,
    /// Sends the part of a file with another ETag, whatever `If-Range` says.
    OtherEtag,
}

#[derive(Debug, Clone)]
pub struct RangedServer {
    pub address: SocketAddr,
    shared: Arc<Mutex<Inner>>,
}

#[derive(Debug, Default)]
struct Inner {
    content: Bytes,
    etag: Option<&'static str>,
    ranges: bool,
    bytes_per_second: Option<u64>,
    at_most: Option<usize>,
    open: usize,
    faults: VecDeque<Fault>,
    /// The range of each request; empty: none.
    requests: Vec<String>,
    sent: u64,
}

impl RangedServer {
    /// Serves `content` until the runtime ends.
    pub async fn start(content: impl Into<Bytes>) -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("loopback has free ports");
        let address = listener.local_addr().expect("it is bound");
        let inner = Inner { content: content.into(), etag: Some("\"v1\""), ranges: true, ..Inner::default() };
        let shared = Arc::new(Mutex::new(inner));
        let app = Router::new().fallback(answer).with_state(shared.clone());
        tokio::spawn(async move { axum::serve(listener, app).await.expect("it serves to the end") });
        Self { address, shared }
    }

    pub fn url(&self) -> String {
        format!("http://{}/m.safetensors?token=secret", self.address)
    }

    /// Goes wrong with the next requests that could.
    pub fn faults(&self, faults: &[Fault]) {
        self.lock().faults.extend(faults);
    }

    pub fn without_ranges(&self) {
        self.lock().ranges = false;
    }

    pub fn without_etag(&self) {
        self.lock().etag = None;
    }

    /// Has another file from now on.
    pub fn replace(&self, content: impl Into<Bytes>, etag: &'static str) {
        let mut inner = self.lock();
        inner.content = content.into();
        inner.etag = Some(etag);
    }

    /// All connections together.
    pub fn throttle(&self, bytes_per_second: u64) {
        self.lock().bytes_per_second = Some(bytes_per_second);
    }

    /// Answers 429 to who comes while so many are served.
    pub fn at_most(&self, connections: usize) {
        self.lock().at_most = Some(connections);
    }

    pub fn requests(&self) -> Vec<String> {
        self.lock().requests.clone()
    }

    /// Bytes of bodies handed to connections; what a buffer swallowed counts.
    pub fn sent(&self) -> u64 {
        self.lock().sent
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.shared.lock().expect("no request panics")
    }
}

/// Counts one open answer while it lives.
struct OpenAnswer(Arc<Mutex<Inner>>);

impl Drop for OpenAnswer {
    fn drop(&mut self) {
        self.0.lock().expect("no request panics").open -= 1;
    }
}

async fn answer(State(shared): State<Arc<Mutex<Inner>>>, headers: HeaderMap) -> Response<Body> {
    let text = |name| headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default().to_owned();
    let asked = text("range");
    let mut inner = shared.lock().expect("no request panics");
    inner.requests.push(asked.clone());
    let refuse = |status| Response::builder().status(status).body(Body::empty()).expect("it is whole");
    if inner.at_most.is_some_and(|most| inner.open >= most) {
        return refuse(429);
    }
    let size = inner.content.len();
    let same_version = text("if-range").is_empty() || inner.etag == Some(text("if-range").as_str());
    let range = parse(&asked, size).filter(|_| inner.ranges);
    let spoil = range.is_some() || !inner.ranges;
    let fault = if spoil { inner.faults.pop_front() } else { None };
    if let Some(Fault::Status(status)) = fault {
        return refuse(status);
    }
    let range = range
        .filter(|_| (same_version || fault == Some(Fault::OtherEtag)) && fault != Some(Fault::IgnoreRange));
    let (from, to) = range.unwrap_or((0, size));
    let mut response = Response::builder();
    if let Some(etag) = inner.etag {
        response = response.header("etag", if fault == Some(Fault::OtherEtag) { "\"other\"" } else { etag });
    }
    if inner.ranges {
        response = response.header("accept-ranges", "bytes");
    }
    if range.is_some() {
        let shift = usize::from(fault == Some(Fault::WrongRange));
        let content_range = format!("bytes {}-{}/{size}", from + shift, to - 1);
        response = response.status(StatusCode::PARTIAL_CONTENT).header("content-range", content_range);
    }
    let body = inner.content.slice(from..to);
    inner.open += 1;
    let open = OpenAnswer(shared.clone());
    drop(inner);
    response.header("content-length", body.len()).body(stream_of(body, fault, open)).expect("it is whole")
}

fn stream_of(body: Bytes, fault: Option<Fault>, open: OpenAnswer) -> Body {
    let (keep, stall) = match fault {
        Some(Fault::Cut(at)) => (at.min(body.len()), false),
        Some(Fault::Stall(at)) => (at.min(body.len()), true),
        _ => (body.len(), false),
    };
    let whole = keep == body.len();
    let body = body.slice(..keep);
    let chunks = stream::unfold((body, 0, open), move |(body, at, open)| async move {
        if at < body.len() {
            let end = (at + CHUNK).min(body.len());
            let pause = {
                let mut inner = open.0.lock().expect("no request panics");
                inner.sent += (end - at) as u64;
                let sharing = inner.open.max(1) as u64;
                inner.bytes_per_second.map(|rate| (end - at) as u64 * sharing * 1000 / rate.max(1))
            };
            if let Some(millis) = pause {
                tokio::time::sleep(Duration::from_millis(millis)).await;
            }
            return Some((Ok(body.slice(at..end)), (body, end, open)));
        }
        if whole {
            return None;
        }
        if stall {
            std::future::pending::<()>().await;
        }
        Some((Err(std::io::Error::other("cut")), (body, usize::MAX, open)))
    });
    Body::from_stream(chunks.boxed())
}

/// `bytes=5-9` of a file of so many bytes, and `bytes=5-`.
fn parse(range: &str, size: usize) -> Option<(usize, usize)> {
    let (from, last) = range.strip_prefix("bytes=")?.split_once('-')?;
    let from: usize = from.parse().ok()?;
    let to = if last.is_empty() { size } else { last.parse::<usize>().ok()? + 1 };
    (from < to.min(size)).then_some((from, to.min(size)))
}
