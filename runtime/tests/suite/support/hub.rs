//! A model hub and a model site as the importer sees them, with their blobs on a second server: Hugging Face's
//! `/api/models/…` and `/resolve/`, Civitai's `/api/v1/model-versions/…` and `/api/download/`.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, Response, Uri};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use super::files::sha256_hex;

pub const COMMIT: &str = "0123456789abcdef0123456789abcdef01234567";
pub const VERSION: i64 = 128_713;

/// What the hub holds: one repository, and its first file as a version of a model.
#[derive(Debug, Clone, Default)]
pub struct Holdings {
    /// `owner/name`.
    pub repository: &'static str,
    pub files: Vec<(&'static str, Vec<u8>)>,
    /// Token without which no file is handed out; the lists are open to all.
    pub gate: Option<&'static str>,
    /// Hash that is announced instead of the true one.
    pub lie: Option<String>,
    /// Where the next page of a list is said to be, instead of here.
    pub next_page: Option<String>,
    /// This many calls of the API are answered 503 first.
    pub busy: usize,
}

/// One request to either server.
#[derive(Debug, Clone)]
pub struct Asked {
    /// With the query.
    pub path: String,
    pub authorization: Option<String>,
}

pub struct Hub {
    pub url: String,
    shared: Arc<Shared>,
    servers: [JoinHandle<()>; 2],
}

struct Shared {
    holdings: Mutex<Holdings>,
    blobs: SocketAddr,
    to_hub: Mutex<Vec<Asked>>,
    to_blobs: Mutex<Vec<Asked>>,
}

impl Drop for Hub {
    fn drop(&mut self) {
        self.servers.iter().for_each(JoinHandle::abort);
    }
}

impl Hub {
    pub async fn start(holdings: Holdings) -> Self {
        let hub = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let blobs = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", hub.local_addr().unwrap());
        let shared = Arc::new(Shared {
            holdings: Mutex::new(holdings),
            blobs: blobs.local_addr().unwrap(),
            to_hub: Mutex::default(),
            to_blobs: Mutex::default(),
        });
        let api = Router::new().fallback(answer).with_state(shared.clone());
        let store = Router::new().fallback(blob).with_state(shared.clone());
        let servers = [
            tokio::spawn(async move { axum::serve(hub, api).await.unwrap() }),
            tokio::spawn(async move { axum::serve(blobs, store).await.unwrap() }),
        ];
        Self { url, shared, servers }
    }

    /// What the hub itself was asked.
    pub fn asked(&self) -> Vec<Asked> {
        self.shared.to_hub.lock().unwrap().clone()
    }

    /// What the server of the blobs was asked.
    pub fn fetched(&self) -> Vec<Asked> {
        self.shared.to_blobs.lock().unwrap().clone()
    }
}

fn asked(uri: &Uri, headers: &HeaderMap) -> Asked {
    let authorization = headers.get("authorization").map(|value| value.to_str().unwrap().to_owned());
    Asked { path: uri.to_string(), authorization }
}

fn reply(status: u16, headers: &[(&str, &str)], body: impl Into<Body>) -> Response<Body> {
    let response = Response::builder().status(status);
    let response = headers.iter().fold(response, |response, (name, value)| response.header(*name, *value));
    response.body(body.into()).unwrap()
}

fn refused(status: u16, code: &str) -> Response<Body> {
    reply(status, &[("x-error-code", code)], json!({"error": "no"}).to_string())
}

async fn answer(State(shared): State<Arc<Shared>>, uri: Uri, headers: HeaderMap) -> Response<Body> {
    let asked = asked(&uri, &headers);
    shared.to_hub.lock().unwrap().push(asked.clone());
    let mut holdings = shared.holdings.lock().unwrap();
    let parts: Vec<&str> = uri.path().trim_start_matches('/').split('/').collect();
    if parts[0] == "api" && holdings.busy > 0 {
        holdings.busy -= 1;
        return reply(503, &[], "busy");
    }
    let let_in = holdings.gate.is_none_or(|token| asked.authorization == Some(format!("Bearer {token}")));
    let refusal = if asked.authorization.is_some() { 403 } else { 401 };
    match parts.as_slice() {
        ["api", "models", owner, name, call, revision] => {
            if format!("{owner}/{name}") != holdings.repository {
                // The hub does not tell a stranger whether there is such a repository.
                return refused(401, "RepoNotFound");
            }
            match *call {
                _ if !["main", "refs%2Fpr%2F1", COMMIT].contains(revision) => {
                    refused(404, "RevisionNotFound")
                }
                "revision" => reply(200, &[], json!({"sha": COMMIT, "gated": "auto"}).to_string()),
                _ => page(&holdings, &uri),
            }
        }
        [_, _, "resolve", COMMIT, path @ ..] => {
            let path = path.join("/");
            match holdings.files.iter().find(|(name, _)| *name == path) {
                _ if !let_in => refused(refusal, "GatedRepo"),
                None => refused(404, "EntryNotFound"),
                Some((name, bytes)) if is_large(name) => moved(302, shared.blobs, bytes),
                Some((_, bytes)) => reply(200, &[("etag", "\"small\"")], bytes.clone()),
            }
        }
        ["api", "v1", "model-versions", id] if *id == VERSION.to_string() => version(&holdings, &headers),
        ["api", "download", "models", _] if let_in => moved(307, shared.blobs, &holdings.files[0].1),
        ["api", "download", "models", _] => reply(307, &[("location", "/login?reason=download-auth")], ""),
        ["login"] => reply(200, &[("content-type", "text/html")], "<html>who are you?"),
        _ => reply(404, &[], "nothing here"),
    }
}

/// Large files are pointers in the repository.
fn is_large(name: &str) -> bool {
    !name.ends_with(".json") && !name.ends_with(".md")
}

fn moved(status: u16, blobs: SocketAddr, bytes: &[u8]) -> Response<Body> {
    let hash = sha256_hex(bytes);
    let location = format!("http://{blobs}/xet/{hash}?X-Amz-Signature=secret");
    let (size, etag) = (bytes.len().to_string(), format!("\"{hash}\""));
    reply(status, &[("location", &location), ("x-linked-size", &size), ("x-linked-etag", &etag)], "")
}

/// Two entries at a time.
fn page(holdings: &Holdings, uri: &Uri) -> Response<Body> {
    assert!(uri.query().unwrap_or_default().contains("recursive=true"), "{uri}");
    let cursor = uri.query().and_then(|query| query.split("cursor=").nth(1)?.parse().ok());
    let start: usize = cursor.unwrap_or(0);
    let mut entries = vec![json!({"type": "directory", "oid": "d", "size": 0, "path": "folder"})];
    for (name, bytes) in &holdings.files {
        let mut entry = json!({"type": "file", "oid": "a git hash", "size": bytes.len(), "path": name});
        if is_large(name) {
            let hash = holdings.lie.clone().unwrap_or_else(|| sha256_hex(bytes));
            entry["lfs"] = json!({"oid": hash, "size": bytes.len(), "pointerSize": 134});
            entry["xetHash"] = json!("x");
        }
        entries.push(entry);
    }
    let body = Value::from(entries[start..].iter().take(2).cloned().collect::<Vec<_>>()).to_string();
    if start + 2 >= entries.len() {
        return reply(200, &[], body);
    }
    let here = format!("{}?recursive=true&cursor={}", uri.path(), start + 2);
    let next = holdings.next_page.clone().unwrap_or(here);
    reply(200, &[("link", &format!("<{next}>; rel=\"next\""))], body)
}

fn version(holdings: &Holdings, headers: &HeaderMap) -> Response<Body> {
    let (name, bytes) = &holdings.files[0];
    let host = headers["host"].to_str().unwrap();
    let hash = holdings.lie.clone().unwrap_or_else(|| sha256_hex(bytes)).to_uppercase();
    let body = json!({
        "id": VERSION, "name": "v1", "baseModel": "SD 1.5",
        "files": [
            {"name": "pictures.zip", "type": "Training Data", "downloadUrl": format!("http://{host}/api/download/models/1?type=Training%20Data")},
            {"name": name, "type": "Model", "primary": true, "sizeKB": 1.5, "pickleScanResult": "Success",
             "hashes": {"AutoV2": "0", "SHA256": hash}, "downloadUrl": format!("http://{host}/api/download/models/{VERSION}")},
        ],
    });
    reply(200, &[], body.to_string())
}

async fn blob(State(shared): State<Arc<Shared>>, uri: Uri, headers: HeaderMap) -> Response<Body> {
    shared.to_blobs.lock().unwrap().push(asked(&uri, &headers));
    let holdings = shared.holdings.lock().unwrap();
    let hash = uri.path().rsplit('/').next().unwrap();
    let Some((_, bytes)) = holdings.files.iter().find(|(_, bytes)| sha256_hex(bytes) == hash) else {
        return reply(404, &[], "no such blob");
    };
    let etag = format!("\"{hash}\"");
    let range = headers.get("range").and_then(|range| range.to_str().ok()?.strip_prefix("bytes="));
    let Some((from, to)) = range.and_then(|range| range.split_once('-')) else {
        return reply(200, &[("etag", &etag), ("accept-ranges", "bytes")], bytes.clone());
    };
    let last = bytes.len() - 1;
    let (from, to): (usize, usize) = (from.parse().unwrap(), to.parse().unwrap_or(last).min(last));
    let range = format!("bytes {from}-{to}/{}", bytes.len());
    reply(206, &[("etag", &etag), ("content-range", &range)], bytes[from..=to].to_vec())
}
