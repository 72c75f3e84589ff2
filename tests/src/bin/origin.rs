//! A web server with the faults that imports meet: runs as a pod beside the tests.
//!
//! | path | behaviour |
//! |---|---|
//! | `/files/NAME` | the file, ranges included |
//! | `/stall/NAME` | sends 64 KiB, then nothing more |
//! | `/truncate/NAME` | promises the whole file, closes after 64 KiB, each time |
//! | `/slow/NAME` | safetensors with 120 MiB more, ranges included, at some 5 MB/s for each connection |
//! | `/sent` | bytes that `/slow` has sent |
//! | anything else | 404 |

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::header::{ACCEPT_RANGES, CONTENT_LENGTH, CONTENT_RANGE, ETAG, RANGE};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use bytes::Bytes;
use futures::{StreamExt, stream};
use tower_http::services::ServeDir;

/// What the faulty routes send before they fail.
const BEGINNING: usize = 64 * 1024;
/// What the slow route adds to a file, so that it has many parts.
const PADDING: usize = 120 << 20;
/// What the slow route sends at once, and how long it waits then.
const PIECE: usize = 256 << 10;
const PAUSE: Duration = Duration::from_millis(50);

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let folder = PathBuf::from(std::env::var("ORIGIN_FILES").unwrap_or_else(|_| "/files".into()));
    let routes = Router::new()
        .route("/stall/{name}", get(stall))
        .route("/truncate/{name}", get(truncate))
        .nest_service("/files", ServeDir::new(&folder))
        .with_state(folder.clone())
        .merge(slow_routes(folder));
    let listener = tokio::net::TcpListener::bind("0.0.0.0:8000").await?;
    axum::serve(listener, routes)
        .with_graceful_shutdown(async {
            let terminate = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate());
            if let Ok(mut signal) = terminate {
                signal.recv().await;
            }
        })
        .await?;
    Ok(())
}

async fn beginning(folder: PathBuf, name: &str) -> io::Result<(usize, Bytes)> {
    let bytes = tokio::fs::read(folder.join(name.replace(['/', '\\'], ""))).await?;
    Ok((bytes.len(), Bytes::from(bytes).slice(..BEGINNING)))
}

async fn stall(State(folder): State<PathBuf>, Path(name): Path<String>) -> Response {
    reply(folder, &name, stream::pending().boxed()).await
}

async fn truncate(State(folder): State<PathBuf>, Path(name): Path<String>) -> Response {
    let reset = async {
        // Time for the beginning to be sent: an error at once would end the connection before its first byte.
        tokio::time::sleep(Duration::from_millis(200)).await;
        Err(io::Error::from(io::ErrorKind::ConnectionReset))
    };
    reply(folder, &name, stream::once(reset).boxed()).await
}

async fn reply(folder: PathBuf, name: &str, rest: stream::BoxStream<'static, io::Result<Bytes>>) -> Response {
    match beginning(folder, name).await {
        Ok((size, first)) => {
            let body = Body::from_stream(stream::once(async { Ok(first) }).chain(rest));
            ([(CONTENT_LENGTH, size.to_string())], body).into_response()
        }
        Err(error) => (StatusCode::NOT_FOUND, error.to_string()).into_response(),
    }
}

#[derive(Clone)]
struct Slow {
    folder: PathBuf,
    sent: Arc<AtomicU64>,
}

fn slow_routes(folder: PathBuf) -> Router {
    Router::new()
        .route("/slow/{name}", get(slow))
        .route("/sent", get(async |State(slow): State<Slow>| slow.sent.load(Ordering::Relaxed).to_string()))
        .with_state(Slow { folder, sent: Arc::default() })
}

/// The file with one more tensor of zeros.
async fn padded(folder: PathBuf, name: &str) -> anyhow::Result<Bytes> {
    let bytes = tokio::fs::read(folder.join(name.replace(['/', '\\'], ""))).await?;
    let length = usize::try_from(u64::from_le_bytes(bytes[..8].try_into()?))?;
    let mut header: serde_json::Value = serde_json::from_slice(&bytes[8..8 + length])?;
    let data = &bytes[8 + length..];
    let offsets = [data.len(), data.len() + PADDING];
    header["padding"] = serde_json::json!({"dtype": "U8", "shape": [PADDING], "data_offsets": offsets});
    let header = serde_json::to_vec(&header)?;
    let mut padded = (header.len() as u64).to_le_bytes().to_vec();
    padded.extend_from_slice(&header);
    padded.extend_from_slice(data);
    padded.resize(padded.len() + PADDING, 0);
    Ok(padded.into())
}

async fn slow(State(slow): State<Slow>, Path(name): Path<String>, headers: HeaderMap) -> Response {
    let bytes = match padded(slow.folder, &name).await {
        Ok(bytes) => bytes,
        Err(error) => return (StatusCode::NOT_FOUND, error.to_string()).into_response(),
    };
    let size = bytes.len();
    let asked = headers.get(RANGE).and_then(|range| range.to_str().ok()?.strip_prefix("bytes="));
    let range = asked.and_then(|range| range.split_once('-')).and_then(|(from, to)| {
        let end = if to.is_empty() { size } else { to.parse::<usize>().ok()? + 1 };
        Some((from.parse::<usize>().ok()?, end.min(size)))
    });
    let (from, to) = range.unwrap_or((0, size));
    let sent = slow.sent;
    let pieces = stream::iter((from..to).step_by(PIECE)).then(move |begin| {
        let piece = bytes.slice(begin..(begin + PIECE).min(to));
        let sent = sent.clone();
        async move {
            tokio::time::sleep(PAUSE).await;
            sent.fetch_add(piece.len() as u64, Ordering::Relaxed);
            Ok::<_, io::Error>(piece)
        }
    });
    let status = if range.is_some() { StatusCode::PARTIAL_CONTENT } else { StatusCode::OK };
    let mut reply = (status, Body::from_stream(pieces)).into_response();
    let described = [
        (CONTENT_LENGTH, (to - from).to_string()),
        (CONTENT_RANGE, format!("bytes {from}-{}/{size}", to.saturating_sub(1))),
        (ACCEPT_RANGES, "bytes".to_owned()),
        (ETAG, "\"padded\"".to_owned()),
    ];
    for (name, value) in described {
        reply.headers_mut().insert(name, value.parse().expect("digits and words are a header value"));
    }
    reply
}
