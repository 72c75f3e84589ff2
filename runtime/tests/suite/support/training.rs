//! A facade for trainers and checkers, with an object store in a folder, at a real address.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{DefaultBodyLimit, State};
use axum::http::{HeaderMap, Method, Response, Uri};
use easel_protocol::dataset::{
    DATASET_ITEMS_PATH, DATASET_REPORT_PATH, Item, ItemsPage, ItemsRequest, ReportPlan,
};
use easel_protocol::import::{PartSlot, StoreDone, StorePlan, StoreRequest};
use easel_protocol::training::*;
use easel_protocol::worker::ModelFile;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tempfile::TempDir;

use super::files::sha256_hex;

/// Small, so that a checkpoint has many.
const PART_SIZE: u64 = 64 << 10;
/// Small, so that a Dataset has several.
const PAGE: usize = 3;

pub struct TrainingServer {
    shared: Arc<Shared>,
    server: tokio::task::JoinHandle<()>,
}

struct Shared {
    base: String,
    store: TempDir,
    away: AtomicBool,
    state: Mutex<Inner>,
}

#[derive(Default)]
struct Inner {
    task: Option<TrainTask>,
    datasets: BTreeMap<String, Vec<Item>>,
    /// Completed, with the names of their files.
    checkpoints: BTreeMap<u64, Vec<String>>,
    samples: BTreeMap<u64, u32>,
    progress: Vec<TrainProgress>,
    content_types: BTreeMap<String, String>,
    /// Keys whose next GET is answered so.
    spoiled: Vec<(String, u16)>,
}

impl Drop for TrainingServer {
    fn drop(&mut self) {
        self.server.abort();
    }
}

impl TrainingServer {
    pub async fn start() -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let base = format!("http://{}", listener.local_addr().unwrap());
        let shared = Arc::new(Shared {
            base,
            store: tempfile::tempdir().unwrap(),
            away: AtomicBool::new(false),
            state: Mutex::default(),
        });
        let app =
            Router::new().fallback(answer).layer(DefaultBodyLimit::disable()).with_state(shared.clone());
        let server = tokio::spawn(async move { axum::serve(listener, app).await.unwrap() });
        Self { shared, server }
    }

    pub fn url(&self) -> &str {
        &self.shared.base
    }

    pub fn put(&self, key: &str, bytes: &[u8]) {
        std::fs::write(self.shared.path(key), bytes).unwrap();
    }

    pub fn object(&self, key: &str) -> Option<Vec<u8>> {
        std::fs::read(self.shared.path(key)).ok()
    }

    /// A file of the base.
    pub fn base(&self, name: &str, bytes: &[u8]) -> ModelFile {
        self.put(name, bytes);
        ModelFile {
            model: "demo".to_owned(),
            file_name: name.to_owned(),
            sha256: sha256_hex(bytes),
            size_bytes: bytes.len() as u64,
            url: self.shared.object_url(name),
        }
    }

    /// Adds a picture to a Dataset; without bytes it is missing in the store.
    pub fn item(&self, dataset: &str, name: &str, bytes: Option<&[u8]>, change: impl FnOnce(&mut Item)) {
        let key = format!("{dataset}-{}", hex::encode(name));
        if let Some(bytes) = bytes {
            self.put(&key, bytes);
        }
        let mut item = Item {
            name: name.to_owned(),
            url: self.shared.object_url(&key),
            sha256: None,
            size_bytes: None,
            caption: None,
            enabled: true,
        };
        change(&mut item);
        self.shared.lock().datasets.entry(dataset.to_owned()).or_default().push(item);
    }

    /// What is to be trained; the checkpoint to go on from is added with each claim.
    pub fn task(&self, task: TrainTask) {
        self.shared.lock().task = Some(task);
    }

    /// Answers 503 to everything.
    pub fn away(&self, away: bool) {
        self.shared.away.store(away, Ordering::Relaxed);
    }

    /// Answers `status` to the next GET of a picture.
    pub fn spoil_item(&self, dataset: &str, name: &str, status: u16) {
        self.shared.lock().spoiled.push((format!("{dataset}-{}", hex::encode(name)), status));
    }

    /// Steps of the completed checkpoints.
    pub fn checkpoints(&self) -> Vec<u64> {
        self.shared.lock().checkpoints.keys().copied().collect()
    }

    /// A file of the newest completed checkpoint.
    pub fn newest(&self, name: &str) -> Option<Vec<u8>> {
        let step = *self.shared.lock().checkpoints.keys().next_back()?;
        self.object(&format!("checkpoint-{step}-{name}"))
    }

    /// Steps and counts of completed samples.
    pub fn samples(&self) -> BTreeMap<u64, u32> {
        self.shared.lock().samples.clone()
    }

    pub fn progress(&self) -> Vec<TrainProgress> {
        self.shared.lock().progress.clone()
    }

    pub fn content_type(&self, key: &str) -> Option<String> {
        self.shared.lock().content_types.get(key).cloned()
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.state.lock().unwrap()
    }

    fn path(&self, key: &str) -> PathBuf {
        assert!(!key.contains(['/', '\\']), "{key}");
        self.store.path().join(key)
    }

    fn object_url(&self, key: &str) -> String {
        format!("{}/objects/{key}", self.base)
    }

    fn plan(&self, key: String, size: u64) -> StorePlan {
        let count = u32::try_from(size.div_ceil(PART_SIZE).max(1)).unwrap();
        let slot = |number| PartSlot {
            part_number: number,
            url: format!("{}/objects/{key}.part{number}", self.base),
        };
        let parts = (1..=count).map(slot).collect();
        StorePlan { key, parts, upload_id: "upload".to_owned(), part_size: PART_SIZE }
    }

    /// Joins the parts, which have to be the whole object.
    fn join(&self, done: &StoreDone) {
        let mut whole = Vec::new();
        for part in &done.parts {
            let bytes = std::fs::read(self.path(&format!("{}.part{}", done.key, part.part_number))).unwrap();
            assert_eq!(part.etag, etag(&bytes));
            whole.extend(bytes);
        }
        assert_eq!(whole.len() as u64, done.size_bytes, "{}", done.key);
        std::fs::write(self.path(&done.key), whole).unwrap();
    }

    fn claimed(&self) -> TrainTask {
        let inner = self.lock();
        let mut task = inner.task.clone().unwrap();
        task.resume = inner.checkpoints.iter().next_back().map(|(step, names)| {
            let file = |name: &String| {
                let key = format!("checkpoint-{step}-{name}");
                let size_bytes = self.path(&key).metadata().unwrap().len();
                StateFile { name: name.clone(), size_bytes, url: self.object_url(&key) }
            };
            StoredState { step: *step, files: names.iter().map(file).collect() }
        });
        task
    }
}

fn etag(bytes: &[u8]) -> String {
    format!("\"{}\"", &sha256_hex(bytes)[..16])
}

fn reply(status: u16, body: impl Into<Body>) -> Response<Body> {
    Response::builder().status(status).body(body.into()).unwrap()
}

fn json(value: &impl Serialize) -> Response<Body> {
    reply(200, serde_json::to_vec(value).unwrap())
}

fn read<T: DeserializeOwned>(body: &Bytes) -> T {
    serde_json::from_slice(body).unwrap()
}

async fn answer(
    State(shared): State<Arc<Shared>>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> Response<Body> {
    if shared.away.load(Ordering::Relaxed) {
        return reply(503, "away");
    }
    let text = |name| headers.get(name).and_then(|value| value.to_str().ok()).map(str::to_owned);
    if let Some(key) = uri.path().strip_prefix("/objects/") {
        return object(&shared, &method, key, text("content-type"), &body);
    }
    if text("authorization").as_deref() != Some("Bearer test-token") {
        return reply(401, "no token");
    }
    call(&shared, uri.path(), &body)
}

fn object(
    shared: &Shared,
    method: &Method,
    key: &str,
    content_type: Option<String>,
    body: &Bytes,
) -> Response<Body> {
    if *method == Method::PUT {
        std::fs::write(shared.path(key), body).unwrap();
        if let Some(content_type) = content_type {
            shared.lock().content_types.insert(key.to_owned(), content_type);
        }
        return Response::builder().status(200).header("etag", etag(body)).body(Body::empty()).unwrap();
    }
    let mut inner = shared.lock();
    if let Some(at) = inner.spoiled.iter().position(|(spoiled, _)| spoiled == key) {
        return reply(inner.spoiled.remove(at).1, "spoiled");
    }
    match std::fs::read(shared.path(key)) {
        Ok(bytes) => reply(200, bytes),
        Err(_) => reply(404, "no such object"),
    }
}

fn call(shared: &Shared, path: &str, body: &Bytes) -> Response<Body> {
    match path {
        CLAIM_TRAINING_PATH => json(&shared.claimed()),
        TRAINING_PROGRESS_PATH => {
            shared.lock().progress.push(read(body));
            reply(204, Body::empty())
        }
        CHECKPOINT_PATH => {
            let CheckpointRequest { step, files } = read(body);
            let names: BTreeSet<_> = files.iter().map(|file| &file.name).collect();
            assert!(names.len() == files.len() && files.len() <= MAX_CHECKPOINT_FILES);
            let plan = |file: &CheckpointFile| {
                shared.plan(format!("checkpoint-{step}-{}", file.name), file.size_bytes)
            };
            json(&CheckpointPlan { files: files.iter().map(plan).collect() })
        }
        COMPLETE_CHECKPOINT_PATH => {
            let CheckpointDone { step, files } = read(body);
            files.iter().for_each(|done| shared.join(done));
            let name =
                |done: &StoreDone| done.key.strip_prefix(&format!("checkpoint-{step}-")).unwrap().to_owned();
            shared.lock().checkpoints.insert(step, files.iter().map(name).collect());
            reply(204, Body::empty())
        }
        SAMPLES_PATH => {
            let SamplesRequest { step, count } = read(body);
            let slot = |i: u32| {
                let key = format!("sample-{step}-{i}.png");
                SampleSlot { url: shared.object_url(&key), key }
            };
            json(&SamplesPlan { pictures: (0..count).map(slot).collect() })
        }
        COMPLETE_SAMPLES_PATH => {
            let SamplesDone { step, count } = read(body);
            shared.lock().samples.insert(step, count);
            reply(204, Body::empty())
        }
        STORE_TRAINED_PATH => {
            let StoreRequest { sha256, size_bytes } = read(body);
            let mut plan = shared.plan(format!("result-{sha256}"), size_bytes);
            if shared.path(&plan.key).exists() {
                plan.parts.clear();
            }
            json(&plan)
        }
        COMPLETE_TRAINED_PATH => {
            shared.join(&read(body));
            reply(204, Body::empty())
        }
        DATASET_ITEMS_PATH => {
            let ItemsRequest { dataset, offset } = read(body);
            let inner = shared.lock();
            let Some(items) = inner.datasets.get(&dataset) else { return reply(409, "no such Dataset") };
            let from = usize::try_from(offset).unwrap().min(items.len());
            let page = items[from..].iter().take(PAGE).cloned().collect();
            json(&ItemsPage { items: page, total: items.len() as u64 })
        }
        DATASET_REPORT_PATH => {
            let key = "report.jsonl".to_owned();
            json(&ReportPlan { url: shared.object_url(&key), key })
        }
        other => reply(404, format!("no such call: {other}")),
    }
}
