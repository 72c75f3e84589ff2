//! Puts the worker together, runs it, and takes it apart in order.

use std::sync::Arc;
use std::time::Duration;

use easel_protocol::FailureReport;
use tokio::net::TcpListener;
use tokio::task::JoinSet;

use super::claims::claim_loop;
use super::config::{Device, Precision, ServeConfig};
use super::health::Health;
use super::http::router;
use super::job::Worker;
use super::metrics::Metrics;
use super::models::ModelWatcher;
use super::shutdown::Shutdown;
use super::states::{leave, tell_states};
use crate::cache::DiskCache;
use crate::engine::{Engine, ModelPool, memory_limit_bytes};
use crate::error::chain;
use crate::facade::{Facade, TokenFile};
use crate::net::plain_client;

/// How long the engine may take to stop; see [`Worker::stop_patience`].
const STOP_PATIENCE: Duration = Duration::from_secs(600);

/// Serves jobs until `shutdown`, or until a model of the set cannot be loaded.
///
/// # Errors
/// Why the process has to end; the running job was finished first.
pub async fn serve(
    config: ServeConfig,
    engine: Arc<dyn Engine>,
    shutdown: Shutdown,
) -> Result<(), FailureReport> {
    if config.device == Device::Cuda {
        let message = "this build computes on CPUs only; set device: Cpu or use the CUDA image";
        return Err(FailureReport::new("DeviceNotSupported", message, false));
    }
    if !matches!(config.precision, Precision::Auto | Precision::F32) {
        tracing::warn!(precision = ?config.precision, "not available on CPUs: computing in F32");
    }
    let metrics = Arc::new(Metrics::new());
    let health = Arc::new(Health::new());
    let http = plain_client().map_err(|error| permanent("HttpClientFailed", &error))?;
    let token = TokenFile::new(&config.token_file);
    let facade = Facade::new(http.clone(), config.facade_url.clone(), token);
    let cache = DiskCache::open(&config.cache_dir, config.cache_limit_bytes, http.clone(), metrics.clone())
        .map_err(|error| FailureReport::new(error.reason(), chain(&error), error.retriable()))?;
    let budget = memory_budget(&config);
    let pool = Arc::new(ModelPool::new(engine, Arc::new(cache), metrics.clone(), budget));

    let listener = TcpListener::bind(config.listen).await.map_err(|error| {
        FailureReport::new("ListenFailed", format!("cannot listen on {}: {error}", config.listen), true)
    })?;
    tracing::info!(
        pod = config.pod_name, listen = %config.listen, facade = %config.facade_url, memory_budget_bytes = budget,
        "worker starts"
    );

    let mut tasks = JoinSet::new();
    let app = router(health.clone(), metrics.clone());
    tasks.spawn(async move {
        let error = axum::serve(listener, app).await.err();
        let detail = error.map_or_else(|| "the server ended".to_owned(), |error| error.to_string());
        FailureReport::new("HttpServerFailed", detail, true)
    });
    let watcher = ModelWatcher { facade: facade.clone(), pool: pool.clone(), health: health.clone() };
    tasks.spawn(watcher.run());
    tasks.spawn(tell_states(facade.clone(), pool.board()));
    let worker = Worker { facade, http, pool, metrics, shutdown, stop_patience: STOP_PATIENCE };
    let result = run_tasks(&worker, &health, config.claim_wait_seconds, &mut tasks).await;
    tasks.shutdown().await;
    leave(&worker.facade, &worker.pool.board(), result.is_err()).await;
    tracing::info!("worker ended");
    result
}

/// Runs the claim loop to its end. A task that ends first begins the drain, and its failure is the result.
async fn run_tasks(
    worker: &Worker,
    health: &Health,
    wait_seconds: u64,
    tasks: &mut JoinSet<FailureReport>,
) -> Result<(), FailureReport> {
    let claims = claim_loop(worker, health, wait_seconds);
    tokio::pin!(claims);
    let mut failure = None;
    let ended = loop {
        tokio::select! {
            ended = &mut claims => break ended,
            Some(report) = tasks.join_next(), if failure.is_none() => {
                failure = Some(report.unwrap_or_else(|error| {
                    FailureReport::new("TaskPanicked", error.to_string(), true)
                }));
                health.draining();
                worker.shutdown.begin();
            }
            () = worker.shutdown.drained(), if !health.is_draining() => health.draining(),
        }
    };
    if ended.is_err() {
        let message = "the engine did not stop when it was told to";
        return Err(FailureReport::new("EngineStuck", message, true));
    }
    failure.map_or(Ok(()), Err)
}

fn memory_budget(config: &ServeConfig) -> u64 {
    let default = || memory_limit_bytes().map_or(u64::MAX, |limit| limit / 4 * 3);
    config.memory_budget_bytes.unwrap_or_else(default)
}

fn permanent(reason: &str, error: &dyn std::error::Error) -> FailureReport {
    FailureReport::new(reason, chain(error), false)
}
