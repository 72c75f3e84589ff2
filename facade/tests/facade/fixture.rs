//! A facade in a temporary directory.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::body::Body;
use axum::extract::Request;
use clap::Parser;
use easel_crds::{ApiKey, Dataset, Endpoint, Model, TrainingJob};
use easel_facade::app::{App, Parts};
use easel_facade::catalog::{Directory, Feed, Feeds};
use easel_facade::config::Config;
use easel_facade::datasets::Manifests;
use easel_facade::http::server;
use easel_facade::metrics::Metrics;
use easel_facade::router;
use easel_facade::worker_api::TokenCache;
use easel_store::jobs::{JobStore, OpenOptions};
use easel_store::objects::{EmbeddedS3, S3Store};
use http::{HeaderMap, StatusCode};
use http_body_util::BodyExt;
use kube::ResourceExt;
use kube::runtime::watcher::Event;
use serde::de::DeserializeOwned;
use serde_json::Value;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tower::ServiceExt;
use url::Url;

use crate::cluster::FakeCluster;
use crate::objects::{
    BOUND_KEY, BROKEN_ENDPOINT, BUSY_ENDPOINT, CATS, DEMO_ENDPOINT, DEMO_MODEL, FOREIGN_DATASET,
    FOREIGN_ENDPOINT, HTTP_MODEL, KEY, MODELS_KEY, OTHER_KEY, OTHER_MODEL, STARTING_ENDPOINT, TRAINING,
    WAITING_MODEL, api_key,
};

/// A facade without listeners; [`Fixture::listen`] adds them.
pub struct Fixture {
    pub app: App,
    pub cluster: Arc<FakeCluster>,
    pub feeds: Mutex<Feeds>,
    /// Base of the listeners, once there are any.
    pub public: String,
    pub internal: String,
    listeners: Vec<JoinHandle<()>>,
    /// Jobs, and the embedded object store below `objects`.
    pub directory: tempfile::TempDir,
}

/// One answer, read to its end.
#[derive(Debug)]
pub struct Answer {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: String,
}

impl Answer {
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {}", self.body))
    }
}

impl Fixture {
    /// Objects known, no listener.
    pub async fn new() -> Self {
        Self::with(&[], None).await
    }

    /// With listeners on loopback, whose URLs work.
    pub async fn listening() -> Self {
        let public = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let internal = TcpListener::bind("127.0.0.1:0").await.unwrap();
        Self::with(&[], Some((public, internal))).await
    }

    pub async fn with(flags: &[&str], listeners: Option<(TcpListener, TcpListener)>) -> Self {
        easel_facade::install_crypto();
        let directory = tempfile::tempdir().unwrap();
        let database = format!("sqlite://{}", directory.path().join("jobs.db").display());
        let mut arguments = vec!["easel-facade", "--database-url", &database];
        arguments.extend(flags);
        let config = Config::parse_from(arguments);
        let address = |listener: &TcpListener| format!("http://{}", listener.local_addr().unwrap());
        let bases = listeners.as_ref().map(|(public, internal)| (address(public), address(internal)));
        let (public, internal) = bases.unwrap_or(("http://facade.test".into(), String::new()));
        let base = Url::parse(&public).unwrap();
        let embedded = EmbeddedS3::open(&directory.path().join("objects"), &config.s3.bucket).await.unwrap();
        let objects = S3Store::embedded(&embedded, base, None).unwrap();
        let jobs = JobStore::open(&database, &OpenOptions::default()).await.unwrap();
        let (catalog, mut feeds) = Directory::new(1);
        fill(&mut feeds);
        let cluster = Arc::new(FakeCluster::default());
        *cluster.models.lock().unwrap() = Some(MODELS.map(parse).into());
        cluster.trainings.lock().unwrap().push(parse(TRAINING));
        cluster.datasets.lock().unwrap().extend([CATS, FOREIGN_DATASET].map(parse));
        let app = App::new(Parts {
            config,
            jobs,
            objects: Arc::new(objects),
            embedded: Some(embedded),
            directory: catalog,
            cluster: cluster.clone(),
            metrics: Arc::new(Metrics::new()),
            tokens: TokenCache::default(),
            manifests: Manifests::default(),
            shutdown: CancellationToken::new(),
        });
        let listeners = listeners.map_or_else(Vec::new, |(public, internal)| {
            let (shutdown, drain) = (app.shutdown.clone(), Duration::from_secs(1));
            vec![
                tokio::spawn(server::serve(public, router::public(&app), shutdown.clone(), drain)),
                tokio::spawn(server::serve(internal, router::internal(&app), shutdown, drain)),
            ]
        });
        let feeds = Mutex::new(feeds);
        Self { app, cluster, feeds, public, internal, listeners, directory }
    }

    /// Ends the listeners and waits for them.
    pub async fn end(self) {
        self.app.shutdown.cancel();
        for listener in self.listeners {
            listener.await.unwrap();
        }
        self.app.jobs.close().await;
    }

    /// A call of the public port.
    pub async fn public(&self, request: Request) -> Answer {
        read(router::public(&self.app).oneshot(request).await.unwrap()).await
    }

    /// A call of the internal port.
    pub async fn internal(&self, request: Request) -> Answer {
        read(router::internal(&self.app).oneshot(request).await.unwrap()).await
    }

    pub async fn get(&self, path: &str) -> Answer {
        self.public(get(path, KEY)).await
    }

    pub async fn post(&self, path: &str, body: &Value) -> Answer {
        self.public(post(path, KEY, body.to_string())).await
    }

    /// A worker's or importer's call; `token` as in [`FakeCluster::review`].
    pub async fn pod(&self, token: &str, path: &str, body: &Value) -> Answer {
        let request = Request::post(path).header("authorization", format!("Bearer {token}"));
        self.internal(request.body(Body::from(body.to_string())).unwrap()).await
    }

    /// A client as another process on this machine makes it, while this one has the store open.
    pub fn beside(&self) -> S3Store {
        let directory = self.directory.path().join("objects");
        let address = Url::parse(&self.public).unwrap();
        let options = EmbeddedS3::client_options(&directory, &self.app.config.s3.bucket, address).unwrap();
        S3Store::connect(&options).unwrap()
    }

    /// Makes an object as old as two days: the file of that name in a folder, where the embedded store keeps it.
    pub fn make_older(&self, folder: &str, name: &str) {
        let mut open = vec![self.directory.path().to_owned()];
        while let Some(directory) = open.pop() {
            for entry in std::fs::read_dir(&directory).unwrap().map(Result::unwrap) {
                let path = entry.path();
                let here = directory.ends_with(folder) && path.ends_with(format!("={name}"));
                if path.is_dir() {
                    open.push(path);
                } else if here {
                    let time = std::time::SystemTime::now() - Duration::from_secs(2 * 86_400);
                    return std::fs::File::options()
                        .write(true)
                        .open(path)
                        .unwrap()
                        .set_modified(time)
                        .unwrap();
                }
            }
        }
        panic!("no object {name} in {folder}");
    }

    /// Changes an object, and lets the watch see it.
    pub fn apply_model(&self, yaml: &str) {
        self.store_model(yaml);
        self.feeds.lock().unwrap().models[0].apply(&Event::Apply(parse(yaml)));
    }

    /// Changes an Endpoint, as the watch sees it.
    pub fn apply_endpoint(&self, yaml: &str) {
        self.feeds.lock().unwrap().endpoints[0].apply(&Event::Apply(parse(yaml)));
    }

    /// Changes an object that the watch does not see yet.
    pub fn store_model(&self, yaml: &str) {
        let model: Model = parse(yaml);
        let mut models = self.cluster.models.lock().unwrap();
        let models = models.get_or_insert_default();
        models.retain(|other| other.metadata.name != model.metadata.name);
        models.push(model);
    }

    /// Changes a TrainingJob, and lets the watch see it.
    pub fn apply_training(&self, yaml: &str) {
        put_object(&mut self.cluster.trainings.lock().unwrap(), parse(yaml));
        self.sync();
    }

    /// Changes a Dataset, and lets the watch see it.
    pub fn apply_dataset(&self, yaml: &str) {
        put_object(&mut self.cluster.datasets.lock().unwrap(), parse(yaml));
        self.sync();
    }

    /// Lets the watches of TrainingJobs and Datasets see what the API server has.
    pub fn sync(&self) {
        let mut feeds = self.feeds.lock().unwrap();
        fill_one(&mut feeds.trainings[0], self.cluster.trainings.lock().unwrap().clone());
        fill_one(&mut feeds.datasets[0], self.cluster.datasets.lock().unwrap().clone());
    }

    /// Deletes an object.
    pub fn delete_model(&self, yaml: &str) {
        let model: Model = parse(yaml);
        let mut models = self.cluster.models.lock().unwrap();
        models.get_or_insert_default().retain(|other| other.metadata.name != model.metadata.name);
        self.feeds.lock().unwrap().models[0].apply(&Event::Delete(model));
    }
}

/// Puts an object in the place of the one of its name.
fn put_object<K: ResourceExt>(objects: &mut Vec<K>, object: K) {
    objects.retain(|other| (other.name_any(), other.namespace()) != (object.name_any(), object.namespace()));
    objects.push(object);
}

async fn read(response: axum::response::Response) -> Answer {
    let (parts, body) = response.into_parts();
    let bytes = body.collect().await.unwrap().to_bytes();
    let body = String::from_utf8(bytes.to_vec()).unwrap();
    Answer { status: parts.status, headers: parts.headers, body }
}

pub fn get(path: &str, key: &str) -> Request {
    Request::get(path).header("host", "facade.test").header("x-api-key", key).body(Body::empty()).unwrap()
}

pub fn post(path: &str, key: &str, body: String) -> Request {
    Request::post(path).header("host", "facade.test").header("x-api-key", key).body(Body::from(body)).unwrap()
}

pub fn parse<K: DeserializeOwned>(yaml: &str) -> K {
    serde_saphyr::from_str(yaml).unwrap_or_else(|error| panic!("{error}: {yaml}"))
}

/// The Models that are there from the start.
const MODELS: [&str; 4] = [DEMO_MODEL, OTHER_MODEL, WAITING_MODEL, HTTP_MODEL];

fn fill(feeds: &mut Feeds) {
    let endpoints = [DEMO_ENDPOINT, BUSY_ENDPOINT, STARTING_ENDPOINT, BROKEN_ENDPOINT, FOREIGN_ENDPOINT];
    let keys = [
        api_key("team", "default", KEY, ", scopes: [Inference, Models, Training]"),
        api_key("others", "default", OTHER_KEY, ""),
        api_key("team", "busy-only", BOUND_KEY, ", endpointRef: {name: busy}"),
        api_key("team", "models-only", MODELS_KEY, ", scopes: [Models]"),
        api_key("team", "off", "key-that-is-off", ", suspend: true"),
        api_key("team", "old", "key-that-is-old", ", expiresAt: \"2026-01-01T00:00:00Z\""),
    ];
    fill_one(&mut feeds.models[0], MODELS.map(parse::<Model>).into());
    fill_one(&mut feeds.endpoints[0], endpoints.map(parse::<Endpoint>).into());
    fill_one(&mut feeds.trainings[0], vec![parse::<TrainingJob>(TRAINING)]);
    fill_one(&mut feeds.datasets[0], [CATS, FOREIGN_DATASET].map(parse::<Dataset>).into());
    fill_one(&mut feeds.keys[0], keys.iter().map(|yaml| parse::<ApiKey>(yaml)).collect());
}

fn fill_one<K>(feed: &mut Feed<K>, objects: Vec<K>)
where
    K: kube::Resource<DynamicType = ()> + Clone + 'static,
{
    feed.apply(&Event::Init);
    for object in objects {
        feed.apply(&Event::InitApply(object));
    }
    feed.apply(&Event::InitDone);
}
