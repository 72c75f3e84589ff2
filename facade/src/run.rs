//! The process from its settings to its end.

use std::net::SocketAddr;
use std::sync::Arc;

use easel_store::jobs::{JobStore, OpenOptions, StoreError};
use easel_store::objects::{EmbeddedError, EmbeddedS3, ObjectError, ObjectStore, S3Options, S3Store};
use kube::Client;
use secrecy::ExposeSecret;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::app::{App, Parts};
use crate::catalog::{self, Directory, KubeCluster, WatchEnded};
use crate::config::{Config, S3Config};
use crate::datasets::Manifests;
use crate::http::server;
use crate::metrics::Metrics;
use crate::worker_api::TokenCache;
use crate::{router, tasks};

/// Why the process cannot start or ended by itself.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    #[error("bucket \"{0}\" cannot be served beside the API; choose another name")]
    Bucket(String),
    #[error("EASEL_S3_ACCESS_KEY_ID and EASEL_S3_SECRET_ACCESS_KEY are needed with EASEL_S3_ENDPOINT")]
    Credentials,
    #[error("cannot open the job store")]
    Jobs { source: StoreError },
    #[error("cannot open the embedded object store")]
    Embedded { source: EmbeddedError },
    #[error("cannot use the object store")]
    Objects { source: ObjectError },
    #[error("no way to the Kubernetes API server is configured")]
    KubeConfig { source: kube::config::InferConfigError },
    #[error("cannot make a client of the Kubernetes API server")]
    KubeClient { source: kube::Error },
    #[error("cannot listen on {address}")]
    Listen { address: SocketAddr, source: std::io::Error },
    #[error("cannot watch for signals")]
    Signals { source: std::io::Error },
    #[error("{0}")]
    TaskEnded(String),
}

/// Runs until SIGTERM or SIGINT, or until a part that must live has died.
///
/// # Errors
/// [`RunError`]
pub async fn run(config: Config) -> Result<(), RunError> {
    let mut terminate = signal(SignalKind::terminate()).map_err(|source| RunError::Signals { source })?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(|source| RunError::Signals { source })?;
    let public = listen(config.listen).await?;
    let internal = listen(config.internal_listen).await?;
    let mut watches = JoinSet::new();
    let app = assemble(config, &mut watches).await?;
    let mut parts = start(&app, public, internal);
    tracing::info!(
        public = %app.config.listen,
        internal = %app.config.internal_listen,
        embedded_object_store = app.embedded.is_some(),
        "the facade is up"
    );
    let outcome = tokio::select! {
        _ = terminate.recv() => Ok("SIGTERM"),
        _ = interrupt.recv() => Ok("SIGINT"),
        ended = parts.join_next() => Err(format!("a part of the process ended: {ended:?}")),
        ended = watches.join_next() => Err(format!("a watch ended: {ended:?}")),
    };
    match &outcome {
        Ok(signal) => tracing::info!(signal, "the facade ends; calls in progress may finish"),
        Err(reason) => tracing::error!(reason, "the facade cannot go on"),
    }
    app.shutdown.cancel();
    while let Some(ended) = parts.join_next().await {
        if let Err(error) = ended {
            tracing::error!(%error, "a part of the process did not end well");
        }
    }
    watches.shutdown().await;
    app.jobs.close().await;
    outcome.map(drop).map_err(RunError::TaskEnded)
}

async fn listen(address: SocketAddr) -> Result<TcpListener, RunError> {
    TcpListener::bind(address).await.map_err(|source| RunError::Listen { address, source })
}

/// Opens the stores and starts the watches. The API server may be away: the watches go on trying, and
/// readiness says so.
async fn assemble(config: Config, watches: &mut JoinSet<Result<(), WatchEnded>>) -> Result<App, RunError> {
    let jobs = JobStore::open(config.database_url.expose_secret(), &OpenOptions::default())
        .await
        .map_err(|source| RunError::Jobs { source })?;
    let (objects, embedded) = open_objects(&config).await?;
    let client = kube_client().await?;
    let metrics = Arc::new(Metrics::new());
    let namespaces = config.namespaces();
    let (directory, feeds) = Directory::new(namespaces.len().max(1));
    catalog::watch(&client, &namespaces, feeds, &metrics, watches);
    Ok(App::new(Parts {
        config,
        jobs,
        objects,
        embedded,
        directory,
        cluster: Arc::new(KubeCluster::new(client)),
        metrics,
        tokens: TokenCache::default(),
        manifests: Manifests::default(),
        shutdown: CancellationToken::new(),
    }))
}

/// A client of the API server of this pod, or of KUBECONFIG.
///
/// # Errors
/// [`RunError::KubeConfig`], [`RunError::KubeClient`]
pub(crate) async fn kube_client() -> Result<Client, RunError> {
    let config = kube::Config::infer().await.map_err(|source| RunError::KubeConfig { source })?;
    Client::try_from(config).map_err(|source| RunError::KubeClient { source })
}

async fn open_objects(config: &Config) -> Result<(Arc<dyn ObjectStore>, Option<EmbeddedS3>), RunError> {
    if config.s3.endpoint.is_some() {
        let options = s3_options(&config.s3)?;
        let store = S3Store::connect(&options).map_err(|source| RunError::Objects { source })?;
        return Ok((Arc::new(store), None));
    }
    let bucket = &config.s3.bucket;
    if router::RESERVED.contains(&bucket.as_str()) {
        return Err(RunError::Bucket(bucket.clone()));
    }
    let embedded = EmbeddedS3::open(&config.data_dir.join("objects"), bucket)
        .await
        .map_err(|source| RunError::Embedded { source })?;
    let store = S3Store::embedded(&embedded, config.internal_url.clone(), config.public_url.clone())
        .map_err(|source| RunError::Objects { source })?;
    Ok((Arc::new(store), Some(embedded)))
}

/// How to reach the S3 service that is configured.
///
/// # Errors
/// [`RunError::Credentials`]
pub(crate) fn s3_options(s3: &S3Config) -> Result<S3Options, RunError> {
    let (Some(endpoint), Some(access_key_id), Some(secret_access_key)) =
        (s3.endpoint.clone(), s3.access_key_id.clone(), s3.secret_access_key.clone())
    else {
        return Err(RunError::Credentials);
    };
    Ok(S3Options {
        endpoint,
        worker_endpoint: None,
        public_endpoint: s3.public_endpoint.clone(),
        region: s3.region.clone(),
        bucket: s3.bucket.clone(),
        path_style: s3.path_style,
        access_key_id,
        secret_access_key,
    })
}

/// Starts listeners and tasks; none of them ends before the shutdown.
fn start(app: &App, public: TcpListener, internal: TcpListener) -> JoinSet<&'static str> {
    let mut parts = JoinSet::new();
    let (shutdown, drain) = (app.shutdown.clone(), app.config.drain);
    let serving = server::serve(public, router::public(app), shutdown.clone(), drain);
    parts.spawn(async move {
        serving.await;
        "public listener"
    });
    let serving = server::serve(internal, router::internal(app), shutdown, drain);
    parts.spawn(async move {
        serving.await;
        "internal listener"
    });
    let leases = tasks::expire_leases(app.clone());
    parts.spawn(async move {
        leases.await;
        "lease sweep"
    });
    let models = tasks::follow_models(app.clone());
    parts.spawn(async move {
        models.await;
        "model states"
    });
    let orphans = tasks::fail_orphans(app.clone());
    parts.spawn(async move {
        orphans.await;
        "orphan sweep"
    });
    let uploads = tasks::abort_stale(app.clone());
    parts.spawn(async move {
        uploads.await;
        "upload sweep"
    });
    let garbage = tasks::collect_garbage(app.clone());
    parts.spawn(async move {
        garbage.await;
        "garbage collection"
    });
    let retention = tasks::purge(app.clone());
    parts.spawn(async move {
        retention.await;
        "retention"
    });
    parts
}
