//! What the controllers of all kinds share: which objects they watch, and what surrounds a reconcile (time
//! limit, metrics, log, back-off).

use std::fmt::Debug;
use std::sync::Arc;
use std::time::{Duration, Instant};

use k8s_openapi::NamespaceResourceScope;
use kube::runtime::controller::{self, Action, Controller};
use kube::runtime::watcher;
use kube::{Api, Client, Resource, ResourceExt};
use tokio_util::sync::CancellationToken;

use crate::backoff::jittered;
use crate::context::Ctx;
use crate::error::Error;
use crate::labels::Component;

/// Longest time one look may take. Above this a hung connection to the API server blocks an object for
/// long; below, a loaded API server looks like a broken one.
const RECONCILE_LIMIT: Duration = Duration::from_secs(60);
/// Changes of the children that come within this time lead to one look.
const DEBOUNCE: Duration = Duration::from_millis(50);

/// What is watched, and how.
#[derive(Clone)]
pub struct Scope {
    /// `None` stands for all namespaces.
    pub namespace: Option<String>,
    pub concurrency: u16,
    /// Ends the controller: no new looks; those under way are waited for.
    pub stop: CancellationToken,
}

impl Scope {
    /// The API of a kind within this scope.
    pub fn api<K>(&self, client: &Client) -> Api<K>
    where
        K: Resource<DynamicType = (), Scope = NamespaceResourceScope>,
    {
        match &self.namespace {
            Some(namespace) => Api::namespaced(client.clone(), namespace),
            None => Api::all(client.clone()),
        }
    }

    /// A controller of `K`, with the settings that all have.
    pub fn controller<K>(&self, client: &Client) -> Controller<K>
    where
        K: Resource<DynamicType = (), Scope = NamespaceResourceScope>
            + Clone
            + Debug
            + Send
            + Sync
            + serde::de::DeserializeOwned
            + 'static,
    {
        let config = controller::Config::default().debounce(DEBOUNCE).concurrency(self.concurrency);
        Controller::new(self.api::<K>(client), watcher::Config::default())
            .with_config(config)
            .graceful_shutdown_on(self.stop.clone().cancelled_owned())
    }
}

/// Watches the children that carry the labels of a component.
pub fn children_of(component: Component) -> watcher::Config {
    watcher::Config::default().labels(&component.all_text())
}

/// Name and namespace of the owner that a child's label names.
pub fn labelled_owner<K: Resource>(child: &K, component: Component) -> Option<(String, String)> {
    let name = child.labels().get(component.owner_label())?.clone();
    Some((name, child.namespace()?))
}

/// Runs one reconcile: within a time limit, measured, and logged if it fails.
///
/// # Errors
/// That of the reconcile, or [`Error::TimedOut`].
pub async fn guarded<K: Resource<DynamicType = ()>>(
    object: Arc<K>,
    ctx: Arc<Ctx>,
    work: impl Future<Output = Result<Action, Error>>,
) -> Result<Action, Error> {
    let kind = K::kind(&());
    let start = Instant::now();
    let result = tokio::time::timeout(RECONCILE_LIMIT, work).await;
    let result = result.unwrap_or(Err(Error::TimedOut { seconds: RECONCILE_LIMIT.as_secs() }));
    let error = result.as_ref().err().map(|error| (error.reason(), error.retriable()));
    ctx.metrics.observe(&kind, start.elapsed(), error);
    match &result {
        Ok(_) => ctx.backoff.succeeded(&key(&*object)),
        Err(error) => tracing::warn!(
            kind = %kind,
            object = %key(&*object),
            reason = error.reason(),
            retriable = error.retriable(),
            error = error.message(),
            "reconcile failed"
        ),
    }
    result
}

/// When to look again after a failure: soon and then ever later, or at the resync if only a change helps.
pub fn after_error<K: Resource<DynamicType = ()>>(object: Arc<K>, error: &Error, ctx: Arc<Ctx>) -> Action {
    let wait = ctx.backoff.failed(&key(&*object), Instant::now());
    if error.retriable() { Action::requeue(jittered(wait)) } else { ctx.resync() }
}

fn key<K: Resource<DynamicType = ()>>(object: &K) -> String {
    format!("{}/{}/{}", K::kind(&()), object.namespace().unwrap_or_default(), object.name_any())
}

/// Logs what a controller's stream says besides the reconciles' own errors.
pub fn log_result<T, E: std::error::Error + 'static>(
    result: Result<T, controller::Error<E, watcher::Error>>,
) -> std::future::Ready<()> {
    match result {
        Ok(_) | Err(controller::Error::ReconcilerFailed(..)) => {}
        // Deleted between the trigger and the look.
        Err(controller::Error::ObjectNotFound(object)) => tracing::debug!(%object, "the object is gone"),
        Err(error) => tracing::warn!(%error, "a watch failed and is started again"),
    }
    std::future::ready(())
}
