//! A facade with an object store, in memory, that records what it is asked and fails when it is told to.

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::{HeaderMap, Method, Response, StatusCode, Uri};
use easel_protocol::import::{ImportFile, ImportTask, MergeTask, Origin, PartSlot, StorePlan, weights_key};
use easel_protocol::worker::{
    ClaimedJob, HeartbeatReply, ImageFormat, ModelFile, ModelSet, OutputSlot, PendingModel, Refusal,
};
use easel_protocol::{NetworkFile, NetworkKind};
use serde_json::Value;
use tokio::sync::Notify;

use super::files::sha256_hex;
use super::worker::request;

/// What was asked for.
#[derive(Debug, Clone)]
pub struct Call {
    pub path: String,
    pub content_type: Option<String>,
    pub content_length: Option<u64>,
    pub body: Bytes,
}

impl Call {
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }
}

/// Answers `status` to the next `times` calls whose path contains `path`.
#[derive(Debug, Clone)]
pub struct Refuse {
    pub path: &'static str,
    pub status: u16,
    pub times: usize,
}

pub struct FakeFacade {
    pub address: SocketAddr,
    shared: Arc<Shared>,
    server: tokio::task::JoinHandle<()>,
}

#[derive(Default)]
struct Shared {
    state: Mutex<Inner>,
    changed: Notify,
}

#[derive(Default)]
struct Inner {
    set: Option<ModelSet>,
    jobs: VecDeque<ClaimedJob>,
    calls: Vec<Call>,
    refusals: Vec<Refuse>,
    blobs: HashMap<String, Vec<u8>>,
    /// Bodies to be sent instead of the blob, one per request.
    spoiled: VecDeque<Vec<u8>>,
    cancel: bool,
    lost: bool,
    import: Option<ImportTask>,
    /// Keys of the uploads that were completed.
    completed: HashSet<String>,
    part_size: u64,
    base: String,
}

impl Drop for FakeFacade {
    fn drop(&mut self) {
        self.server.abort();
    }
}

impl FakeFacade {
    pub async fn start() -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let shared = Arc::new(Shared::default());
        shared.lock().base = format!("http://{address}");
        let app = Router::new().fallback(answer).with_state(shared.clone());
        let server = tokio::spawn(async move { axum::serve(listener, app).await.unwrap() });
        Self { address, shared, server }
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// A model whose file is `bytes`; not yet in the set.
    pub fn model(&self, name: &str, bytes: &[u8]) -> ModelFile {
        let file = ModelFile {
            model: name.to_owned(),
            file_name: format!("{name}.safetensors"),
            sha256: sha256_hex(bytes),
            size_bytes: bytes.len() as u64,
            url: format!("{}/blobs/{name}", self.url()),
        };
        self.shared.lock().blobs.insert(name.to_owned(), bytes.to_vec());
        file
    }

    /// A network whose file is `bytes`; prompts call it `name`.
    pub fn network(&self, kind: NetworkKind, name: &str, bytes: &[u8]) -> NetworkFile {
        NetworkFile { kind, name: name.to_owned(), file: self.model(name, bytes) }
    }

    /// Sets the models to hold, and the networks.
    pub fn set_with(&self, version: &str, models: &[ModelFile], networks: &[NetworkFile]) {
        self.set(version, models, &[]);
        self.shared.lock().set.as_mut().expect("just set").networks = networks.to_vec();
        self.shared.changed.notify_waiters();
    }

    /// Sets the models to hold.
    pub fn set(&self, version: &str, models: &[ModelFile], pending: &[&str]) {
        let pending = pending
            .iter()
            .map(|name| PendingModel { model: (*name).to_owned(), reason: "WaitingForUpload".to_owned() });
        let set = ModelSet {
            version: version.to_owned(),
            models: models.to_vec(),
            networks: Vec::new(),
            pending: pending.collect(),
        };
        self.shared.lock().set = Some(set);
        self.shared.changed.notify_waiters();
    }

    /// Queues a job for one PNG and one JPEG of each picture; the lease is one second long.
    pub fn job(&self, id: &str, checkpoint: &ModelFile, prompt: &str, pictures: u32) -> ClaimedJob {
        let slot = |picture, format: ImageFormat, extension: &str| OutputSlot {
            picture,
            format,
            name: format!("image_{picture}.{extension}"),
            url: format!("{}/objects/{id}/image_{picture}.{extension}?signature=secret", self.url()),
        };
        let outputs = (0..pictures)
            .flat_map(|i| [slot(i, ImageFormat::Png, "png"), slot(i, ImageFormat::Jpeg, "jpg")])
            .collect();
        ClaimedJob {
            id: id.to_owned(),
            attempt: 1,
            lease_seconds: 1,
            timeout_seconds: 60,
            request: easel_protocol::GenerationRequest { batch_size: pictures, ..request(prompt) },
            checkpoint: checkpoint.clone(),
            networks: Vec::new(),
            outputs,
        }
    }

    pub fn enqueue(&self, job: ClaimedJob) {
        self.shared.lock().jobs.push_back(job);
        self.shared.changed.notify_waiters();
    }

    /// What the import Job is to do: one file.
    pub fn import_task(&self, model_type: &str, origin: Origin, sha256: Option<String>) {
        let file = ImportFile { name: "m.safetensors".to_owned(), origin, sha256 };
        let mut inner = self.shared.lock();
        inner.part_size = 4096;
        inner.import = Some(ImportTask {
            model: "m".to_owned(),
            model_type: model_type.to_owned(),
            files: vec![file],
            merge: None,
            max_bytes: 1 << 20,
        });
    }

    /// The object store loses what imports put there.
    pub fn forget_stored(&self) {
        self.shared.lock().completed.clear();
    }

    /// The hashes that the files of [`Self::import_files`] must have, in order.
    pub fn expect_hashes(&self, hashes: &[String]) {
        let mut inner = self.shared.lock();
        let files = &mut inner.import.as_mut().expect("files").files;
        for (file, hash) in files.iter_mut().zip(hashes) {
            file.sha256 = Some(hash.clone());
        }
    }

    /// What the import Job is to do: these files, in parts of `part_size`.
    pub fn import_files(&self, model_type: &str, files: Vec<(&str, Origin)>, part_size: u64) {
        let file =
            |(name, origin): (&str, Origin)| ImportFile { name: name.to_owned(), origin, sha256: None };
        let mut inner = self.shared.lock();
        inner.part_size = part_size;
        inner.import = Some(ImportTask {
            model: "m".to_owned(),
            model_type: model_type.to_owned(),
            files: files.into_iter().map(file).collect(),
            merge: None,
            max_bytes: 64 << 20,
        });
    }

    /// The files of [`Self::import_files`] are to be merged.
    pub fn merge_files(&self, how: MergeTask) {
        self.shared.lock().import.as_mut().expect("files").merge = Some(how);
    }

    /// The files that an import sent in parts, in order: hash and bytes. Parts come in any order.
    pub fn stored(&self) -> Vec<(String, Vec<u8>)> {
        let mut stored: Vec<(String, BTreeMap<u32, Bytes>)> = Vec::new();
        for call in &self.shared.lock().calls {
            if call.path.ends_with("/import/store") {
                stored.push((call.json()["sha256"].as_str().unwrap().to_owned(), BTreeMap::new()));
            } else if let Some(number) = call.path.strip_prefix("/parts/") {
                stored.last_mut().unwrap().1.insert(number.parse().unwrap(), call.body.clone());
            }
        }
        let joined = |parts: BTreeMap<u32, Bytes>| parts.into_values().flatten().collect();
        stored.into_iter().map(|(sha256, parts)| (sha256, joined(parts))).collect()
    }

    pub fn refuse(&self, path: &'static str, status: u16, times: usize) {
        self.shared.lock().refusals.push(Refuse { path, status, times });
    }

    /// Ends every refusal.
    pub fn heal(&self) {
        self.shared.lock().refusals.clear();
    }

    /// Sends `body` instead of the next blob that is asked for, cut where it is shorter than the blob.
    pub fn spoil_next_blob(&self, body: &[u8]) {
        self.shared.lock().spoiled.push_back(body.to_vec());
    }

    pub fn cancel_jobs(&self) {
        self.shared.lock().cancel = true;
    }

    pub fn lose_leases(&self, lost: bool) {
        self.shared.lock().lost = lost;
    }

    /// Every call whose path contains `part`, in order.
    pub fn calls(&self, part: &str) -> Vec<Call> {
        self.shared.lock().calls.iter().filter(|call| call.path.contains(part)).cloned().collect()
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.state.lock().unwrap()
    }

    /// Waits until `ready` gives something, at most `limit`.
    async fn wait<T>(&self, limit: Duration, ready: impl Fn(&mut Inner) -> Option<T>) -> Option<T> {
        let poll = async {
            loop {
                let changed = self.changed.notified();
                if let Some(value) = ready(&mut self.lock()) {
                    return value;
                }
                changed.await;
            }
        };
        tokio::time::timeout(limit, poll).await.ok()
    }
}

fn reply(status: u16, body: impl Into<Body>) -> Response<Body> {
    Response::builder().status(status).body(body.into()).unwrap()
}

fn json(status: u16, value: &impl serde::Serialize) -> Response<Body> {
    reply(status, serde_json::to_vec(value).unwrap())
}

async fn answer(
    State(shared): State<Arc<Shared>>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> Response<Body> {
    let path = uri.path().to_owned();
    let text = |name| headers.get(name).and_then(|value| value.to_str().ok()).map(str::to_owned);
    {
        let mut inner = shared.lock();
        inner.calls.push(Call {
            path: path.clone(),
            content_type: text("content-type"),
            content_length: text("content-length").and_then(|length| length.parse().ok()),
            body: body.clone(),
        });
        let refusal = inner.refusals.iter_mut().find(|r| r.times > 0 && path.contains(r.path));
        if let Some(refusal) = refusal {
            refusal.times -= 1;
            return reply(refusal.status, "told to refuse");
        }
    }
    if path.starts_with("/worker/") && text("authorization").as_deref() != Some("Bearer test-token") {
        return reply(401, "no token");
    }
    if method == Method::PUT {
        let etag = format!("\"{}\"", &sha256_hex(&body)[..8]);
        return Response::builder().status(200).header("etag", etag).body(Body::empty()).unwrap();
    }
    match path.rsplit('/').next().unwrap_or_default() {
        "models" => models(&shared, uri.query().unwrap_or_default()).await,
        "claim" if path.contains("import") => claim_import(&shared),
        "claim" => claim(&shared, &body).await,
        "heartbeat" => heartbeat(&shared),
        "store" => plan(&shared, &body),
        "complete" if path.contains("import") => complete_import(&shared, &body),
        "state" | "complete" | "fail" | "release" | "progress" => reply(204, Body::empty()),
        name => blob(&shared, name, text("range").as_deref()),
    }
}

async fn models(shared: &Shared, query: &str) -> Response<Body> {
    let known = query.strip_prefix("known=").unwrap_or_default().to_owned();
    let newer = |inner: &mut Inner| inner.set.clone().filter(|set| set.version != known);
    match shared.wait(Duration::from_millis(500), newer).await {
        Some(set) => json(200, &set),
        None => shared.lock().set.as_ref().map_or_else(|| reply(503, "no set"), |set| json(200, set)),
    }
}

async fn claim(shared: &Shared, body: &Bytes) -> Response<Body> {
    let claim: easel_protocol::worker::ClaimRequest = serde_json::from_slice(body).unwrap();
    let wait = Duration::from_secs(claim.wait_seconds);
    match shared.wait(wait, |inner| inner.jobs.pop_front()).await {
        Some(job) => json(200, &job),
        None => reply(204, Body::empty()),
    }
}

fn heartbeat(shared: &Shared) -> Response<Body> {
    let inner = shared.lock();
    if inner.lost {
        let refusal = Refusal { reason: "Stale".to_owned(), message: "held by attempt 2".to_owned() };
        return json(409, &refusal);
    }
    json(200, &HeartbeatReply { cancel: inner.cancel, lease_seconds: 1 })
}

fn claim_import(shared: &Shared) -> Response<Body> {
    json(200, shared.lock().import.as_ref().unwrap())
}

/// Parts for the whole file; none for one that is there already.
fn plan(shared: &Shared, body: &Bytes) -> Response<Body> {
    let store: easel_protocol::import::StoreRequest = serde_json::from_slice(body).unwrap();
    let inner = shared.lock();
    let key = weights_key(&store.sha256);
    let is_blob = inner.blobs.values().any(|bytes| sha256_hex(bytes) == store.sha256);
    let exists = is_blob || inner.completed.contains(&key);
    let count = if exists { 0 } else { store.size_bytes.div_ceil(inner.part_size).max(1) };
    let part = |number| PartSlot { part_number: number, url: format!("{}/parts/{number}", inner.base) };
    let plan = StorePlan {
        key,
        parts: (1..=u32::try_from(count).unwrap()).map(part).collect(),
        upload_id: "upload-1".to_owned(),
        part_size: inner.part_size,
    };
    json(200, &plan)
}

fn complete_import(shared: &Shared, body: &Bytes) -> Response<Body> {
    let done: easel_protocol::import::StoreDone = serde_json::from_slice(body).unwrap();
    shared.lock().completed.insert(done.key);
    reply(204, Body::empty())
}

fn blob(shared: &Shared, name: &str, range: Option<&str>) -> Response<Body> {
    let mut inner = shared.lock();
    let Some(bytes) = inner.blobs.get(name).cloned() else { return reply(404, "no such blob") };
    let from = range.and_then(|range| range.strip_prefix("bytes=")?.strip_suffix('-')?.parse().ok());
    let from: usize = from.unwrap_or(0);
    let body = match inner.spoiled.pop_front() {
        Some(spoiled) => spoiled,
        None => bytes[from..].to_vec(),
    };
    let response = Response::builder().header("etag", "\"v1\"");
    let response = match range {
        Some(_) => response
            .status(StatusCode::PARTIAL_CONTENT)
            .header("content-range", format!("bytes {from}-{}/{}", bytes.len() - 1, bytes.len())),
        None => response.status(StatusCode::OK),
    };
    if from + body.len() < bytes.len() {
        // Announces the whole file and breaks off.
        let broken = futures::stream::iter([Ok(Bytes::from(body)), Err(std::io::Error::other("cut"))]);
        let length = bytes.len() - from;
        return response.header("content-length", length).body(Body::from_stream(broken)).unwrap();
    }
    response.body(body.into()).unwrap()
}
