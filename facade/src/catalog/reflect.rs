//! The watches that fill a [`super::Directory`]. A watch that loses the API server goes on trying, with
//! back-off, and what was seen last stays readable meanwhile.

use std::sync::Arc;

use easel_crds::{ApiKey, Dataset, Endpoint, Model, TrainingJob};
use futures::StreamExt;
use kube::runtime::{WatchStreamExt, watcher};
use kube::{Api, Client, Resource, ResourceExt};
use serde::de::DeserializeOwned;
use tokio::task::JoinSet;

use super::directory::{Feed, Feeds};
use crate::metrics::Metrics;

/// Annotation of `kubectl apply`: a second copy of the object.
const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";

/// A watch's stream ended, which it never does by itself.
#[derive(Debug, thiserror::Error)]
#[error("the watch of {kind} ended")]
pub struct WatchEnded {
    pub kind: &'static str,
}

/// Starts every watch; none means a task per kind over all namespaces.
pub fn watch(
    client: &Client,
    namespaces: &[String],
    feeds: Feeds,
    metrics: &Arc<Metrics>,
    tasks: &mut JoinSet<Result<(), WatchEnded>>,
) {
    let Feeds { endpoints, models, keys, trainings, datasets } = feeds;
    start::<Endpoint>("Endpoint", client, namespaces, endpoints, metrics, tasks);
    start::<Model>("Model", client, namespaces, models, metrics, tasks);
    start::<ApiKey>("ApiKey", client, namespaces, keys, metrics, tasks);
    start::<TrainingJob>("TrainingJob", client, namespaces, trainings, metrics, tasks);
    start::<Dataset>("Dataset", client, namespaces, datasets, metrics, tasks);
}

fn start<K>(
    kind: &'static str,
    client: &Client,
    namespaces: &[String],
    feeds: Vec<Feed<K>>,
    metrics: &Arc<Metrics>,
    tasks: &mut JoinSet<Result<(), WatchEnded>>,
) where
    K: Resource<DynamicType = (), Scope = kube::core::NamespaceResourceScope>
        + Clone
        + DeserializeOwned
        + std::fmt::Debug
        + Send
        + Sync
        + 'static,
{
    for (place, feed) in feeds.into_iter().enumerate() {
        let api: Api<K> = match namespaces.get(place) {
            Some(namespace) => Api::namespaced(client.clone(), namespace),
            None => Api::all(client.clone()),
        };
        tasks.spawn(follow(kind, api, feed, metrics.clone()));
    }
}

async fn follow<K>(
    kind: &'static str,
    api: Api<K>,
    mut feed: Feed<K>,
    metrics: Arc<Metrics>,
) -> Result<(), WatchEnded>
where
    K: Resource<DynamicType = ()> + Clone + DeserializeOwned + std::fmt::Debug + Send + Sync + 'static,
{
    let events = watcher(api, watcher::Config::default()).modify(strip).default_backoff();
    let mut events = std::pin::pin!(events);
    while let Some(event) = events.next().await {
        match event {
            Ok(event) => feed.apply(&event),
            Err(error) => {
                metrics.watch_error(kind);
                tracing::warn!(
                    kind,
                    error = &error as &dyn std::error::Error,
                    "a watch failed and starts again"
                );
            }
        }
    }
    Err(WatchEnded { kind })
}

/// Leaves out what nobody here reads and what takes most of the memory.
fn strip<K: Resource>(object: &mut K) {
    object.managed_fields_mut().clear();
    object.annotations_mut().remove(LAST_APPLIED);
}
