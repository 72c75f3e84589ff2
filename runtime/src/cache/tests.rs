//! Several caches on one directory stand for the pods of a node.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::extract::{Path as UrlPath, State};
use axum::http::StatusCode;
use easel_protocol::worker::ModelFile;
use sha2::{Digest, Sha256};
use tempfile::TempDir;

use super::*;
use crate::worker::Metrics;

/// A store, and a directory to cache in.
struct Node {
    directory: TempDir,
    base: String,
    store: Arc<Mutex<Store>>,
}

#[derive(Default)]
struct Store {
    files: HashMap<String, Vec<u8>>,
    gets: Vec<String>,
}

async fn get(
    State(store): State<Arc<Mutex<Store>>>,
    UrlPath(name): UrlPath<String>,
) -> Result<Vec<u8>, StatusCode> {
    let found = {
        let mut store = store.lock().unwrap();
        store.gets.push(name.clone());
        store.files.get(&name).cloned()
    };
    // Long enough for a second pod to come while the first one transfers.
    tokio::time::sleep(Duration::from_millis(30)).await;
    found.ok_or(StatusCode::NOT_FOUND)
}

impl Node {
    async fn start() -> Self {
        crate::net::install_tls();
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let base = format!("http://{}", listener.local_addr().unwrap());
        let store = Arc::new(Mutex::new(Store::default()));
        let app = axum::Router::new().route("/{name}", axum::routing::get(get)).with_state(store.clone());
        tokio::spawn(async move { axum::serve(listener, app).await.unwrap() });
        Self { directory: tempfile::tempdir().unwrap(), base, store }
    }

    fn pod(&self, limit_bytes: Option<u64>) -> DiskCache {
        let http = crate::net::plain_client().unwrap();
        DiskCache::open(self.directory.path(), limit_bytes, http, Arc::new(Metrics::new())).unwrap()
    }

    /// A file of 100 bytes of `byte`, at the store.
    fn file(&self, byte: u8, name: &str) -> ModelFile {
        let bytes = vec![byte; 100];
        let sha256 = hex::encode(Sha256::digest(&bytes));
        self.store.lock().unwrap().files.insert(sha256.clone(), bytes);
        let url = format!("{}/{sha256}", self.base);
        ModelFile { model: "m".into(), file_name: name.into(), sha256, size_bytes: 100, url }
    }

    fn gets(&self) -> usize {
        self.store.lock().unwrap().gets.len()
    }

    fn has(&self, file: &ModelFile) -> bool {
        self.directory.path().join(format!("{}.safetensors", file.sha256)).exists()
    }
}

async fn fetch(cache: &DiskCache, file: &ModelFile) -> Result<CachedFile, CacheError> {
    cache.get(file, &mut |_| {}).await
}

#[tokio::test]
async fn two_pods_transfer_a_file_once() {
    let node = Node::start().await;
    let (one, two, file) = (node.pod(None), node.pod(None), node.file(1, "a"));
    let (first, second) = tokio::join!(fetch(&one, &file), fetch(&two, &file));
    assert_eq!(std::fs::read(first.unwrap().path()).unwrap(), [1; 100]);
    assert_eq!(second.unwrap().path().file_name().unwrap().len(), 64 + ".safetensors".len());
    assert_eq!(node.gets(), 1);
}

#[tokio::test]
async fn what_another_pod_uses_is_not_removed() {
    let node = Node::start().await;
    let (one, two) = (node.pod(Some(250)), node.pod(Some(250)));
    let [a, b, c] = [node.file(1, "a"), node.file(2, "b"), node.file(3, "c")];
    let held = fetch(&one, &a).await.unwrap();
    let idle = fetch(&one, &b).await.unwrap();
    drop(idle);
    // `a` is older than `b`, and in use by the other pod.
    let third = fetch(&two, &c).await.unwrap();
    assert!(node.has(&a) && !node.has(&b) && node.has(&c));
    let error = fetch(&two, &b).await.unwrap_err();
    assert!(matches!(error, CacheError::Full { need: 100, in_use: 200, limit: 250 }), "{error:?}");
    assert!(error.retriable());
    drop(held);
    fetch(&two, &b).await.unwrap();
    assert!(!node.has(&a) && node.has(&c));
    drop(third);
}

#[tokio::test]
async fn the_least_recently_used_goes_whichever_pod_used_it() {
    let node = Node::start().await;
    let (one, two) = (node.pod(Some(250)), node.pod(Some(250)));
    let [a, b, c] = [node.file(1, "a"), node.file(2, "b"), node.file(3, "c")];
    drop(fetch(&one, &a).await.unwrap());
    tokio::time::sleep(Duration::from_millis(20)).await;
    drop(fetch(&one, &b).await.unwrap());
    tokio::time::sleep(Duration::from_millis(20)).await;
    drop(fetch(&two, &a).await.unwrap());
    drop(fetch(&one, &c).await.unwrap());
    assert!(node.has(&a) && !node.has(&b) && node.has(&c));
    let large = ModelFile { size_bytes: 251, ..a };
    let error = fetch(&one, &large).await.unwrap_err();
    assert_eq!((error.reason(), error.retriable()), ("CacheTooSmall", false));
}

#[tokio::test]
async fn leavings_of_transfers_give_way_first_and_damage_is_repaired() {
    let node = Node::start().await;
    let cache = node.pod(Some(300));
    let [a, b, c] = [node.file(1, "a"), node.file(2, "b"), node.file(3, "c")];
    drop(fetch(&cache, &a).await.unwrap());
    let leaving = node.directory.path().join(format!("{}.part", b.sha256));
    std::fs::write(&leaving, [9; 150]).unwrap();
    drop(fetch(&cache, &c).await.unwrap());
    assert!(node.has(&a) && node.has(&c) && !leaving.exists());
    // Cut by a file system that lost its last writes.
    let path = node.directory.path().join(format!("{}.safetensors", a.sha256));
    std::fs::write(&path, [1; 40]).unwrap();
    let again = fetch(&cache, &a).await.unwrap();
    assert_eq!(std::fs::read(again.path()).unwrap(), [1; 100]);
}

#[tokio::test]
async fn a_model_of_several_files_is_a_folder_of_their_names() {
    let node = Node::start().await;
    let cache = node.pod(Some(350));
    let files = [node.file(1, "unet/d.safetensors"), node.file(2, "unet/config.json")];
    let mut last = None;
    let model = cache.get_model(&files, &mut |progress| last = Some(progress)).await.unwrap();
    assert_eq!(std::fs::read(model.path().join("unet/d.safetensors")).unwrap(), [1; 100]);
    assert_eq!(std::fs::read(model.path().join("unet/config.json")).unwrap(), [2; 100]);
    assert_eq!(last.map(|progress| (progress.received, progress.total)), Some((200, Some(200))));
    let again = node.pod(None).get_model(&files, &mut |_| {}).await.unwrap();
    assert_eq!((again.path(), node.gets()), (model.path(), 2));
    // Both files are held by the folder; when it is let go, they may go, and the folder with them.
    let more = [node.file(3, "a"), node.file(4, "b")];
    drop(fetch(&cache, &more[0]).await.unwrap());
    assert!(node.has(&files[0]) && node.has(&files[1]));
    let path = model.path().to_owned();
    drop((model, again));
    let larger = ModelFile { size_bytes: 340, ..more[1].clone() };
    assert!(fetch(&cache, &larger).await.is_err(), "the store has 100 bytes of it");
    assert!(!node.has(&files[0]) && !path.exists());
    for name in ["../a", "/a", "a/../../b", "a\\b", "", "1/2/3/4/5/6/7"] {
        let hostile = [files[0].clone(), ModelFile { file_name: name.into(), ..files[1].clone() }];
        let error = cache.get_model(&hostile, &mut |_| {}).await.unwrap_err();
        assert_eq!((error.reason(), error.retriable()), ("BadModelFile", false), "{name}");
    }
}
