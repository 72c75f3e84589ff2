//! The life of the process: serve health, wait for the lease, run the controllers, end in order.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::catalogue::Catalogue;
use crate::client::{CountLayer, FaultLayer, Fence, FenceLayer, connect};
use crate::config::{Config, LogFormat};
use crate::context::{Ctx, Settings};
use crate::controller::Scope;
use crate::health::Health;
use crate::leader::Elector;
use crate::metrics::Metrics;
use crate::{dataset, endpoint, http, model, training};

/// How long reconciles that are under way may take after SIGTERM. Less than the lease's renewal deadline.
const DRAIN: Duration = Duration::from_secs(8);

/// Starts the log.
///
/// # Errors
/// The filter cannot be parsed.
pub fn init_log(config: &Config) -> anyhow::Result<()> {
    let filter = tracing_subscriber::EnvFilter::try_new(&config.log).context("EASEL_LOG is no log filter")?;
    let log = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    match config.log_format {
        LogFormat::Json => log.json().flatten_event(true).init(),
        LogFormat::Text => log.init(),
    }
    Ok(())
}

/// Runs until SIGTERM or SIGINT.
///
/// # Errors
/// The configuration is not usable, the lease was lost, or a part ended that must not.
pub async fn run(config: Config) -> anyhow::Result<()> {
    let own = config.instance_catalogue.as_deref().filter(|path| !path.as_os_str().is_empty());
    let catalogue = Catalogue::load(own)?;
    let metrics = Metrics::default();
    let health = Arc::new(Health::default());
    let fence = Fence::default();
    let count = CountLayer::new(metrics.api_requests.clone(), metrics.api_writes.clone());
    let faults = FaultLayer::new(config.faults.clone(), Arc::new(|| std::process::abort()));
    let client =
        connect(FenceLayer(fence.clone()), faults, count).await.context("no Kubernetes API server")?;

    let stop = CancellationToken::new();
    let mut parts = JoinSet::new();
    parts.spawn(wait_for_signal(stop.clone()));
    let listener = TcpListener::bind(config.listen)
        .await
        .with_context(|| format!("cannot listen on {} (EASEL_LISTEN)", config.listen))?;
    let routes = http::router(health.clone(), metrics.clone());
    // Health is served to the very end: the process exits under it.
    parts.spawn(async move { axum::serve(listener, routes).await.context("the health server failed") });

    let identity = identity(&config);
    let mut elector =
        Elector::new(client.clone(), &config.namespace, &config.lease_name, &identity, fence, health.clone());
    tokio::select! {
        () = elector.acquire() => {}
        () = stop.cancelled() => return Ok(()),
        ended = parts.join_next() => return part_ended(ended),
    }
    metrics.leader.set(1);
    let resync = Duration::from_secs(config.resync_seconds);
    let ctx =
        Arc::new(Ctx::new(client, Settings::new(&config, catalogue), metrics.clone(), &identity, resync));
    let mut controllers = start(&config, &ctx, &stop);
    health.set_working(true);

    let ended = tokio::select! {
        // In this order: the controllers end by themselves as soon as they are told to.
        biased;
        () = stop.cancelled() => Ok(()),
        lost = elector.hold() => Err(lost.into()),
        ended = parts.join_next() => part_ended(ended),
        _ = controllers.join_next() => Err(anyhow::anyhow!("a controller ended")),
    };
    health.set_stopping();
    stop.cancel();
    if ended.is_ok() {
        let drained = async { while controllers.join_next().await.is_some() {} };
        if tokio::time::timeout(DRAIN, drained).await.is_err() {
            tracing::warn!("reconciles were still under way after {} s", DRAIN.as_secs());
        }
        elector.release().await;
    }
    metrics.leader.set(0);
    ended
}

/// One controller per kind and watched namespace.
fn start(config: &Config, ctx: &Arc<Ctx>, stop: &CancellationToken) -> JoinSet<()> {
    let mut controllers = JoinSet::new();
    for namespace in config.scopes() {
        let scope = Scope { namespace, concurrency: config.concurrency, stop: stop.clone() };
        controllers.spawn(endpoint::controller(ctx.clone(), scope.clone()));
        controllers.spawn(model::controller(ctx.clone(), scope.clone()));
        controllers.spawn(dataset::controller(ctx.clone(), scope.clone()));
        controllers.spawn(training::controller(ctx.clone(), scope));
    }
    controllers
}

/// The pod's name, or one that no other process has.
fn identity(config: &Config) -> String {
    config.pod_name.clone().filter(|name| !name.is_empty()).unwrap_or_else(|| {
        let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
        format!("{}-{:08x}", host.trim(), rand::random::<u32>())
    })
}

async fn wait_for_signal(stop: CancellationToken) -> anyhow::Result<()> {
    let mut terminate = signal(SignalKind::terminate()).context("cannot wait for SIGTERM")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("cannot wait for SIGINT")?;
    tokio::select! {
        _ = terminate.recv() => tracing::info!("SIGTERM: ending"),
        _ = interrupt.recv() => tracing::info!("SIGINT: ending"),
    }
    stop.cancel();
    // Stays in the set of parts, so that the set only tells of parts that end on their own.
    std::future::pending().await
}

fn part_ended(ended: Option<Result<anyhow::Result<()>, tokio::task::JoinError>>) -> anyhow::Result<()> {
    match ended {
        Some(Ok(result)) => result.and_then(|()| Err(anyhow::anyhow!("a part of the process ended"))),
        Some(Err(error)) => Err(error).context("a part of the process panicked"),
        None => Err(anyhow::anyhow!("no part of the process is left")),
    }
}
