//! What every handler can reach. Nothing here knows a dialect.

use std::ops::Deref;
use std::sync::Arc;

use easel_store::jobs::JobStore;
use easel_store::objects::{EmbeddedS3, ObjectStore};
use tokio_util::sync::CancellationToken;

use crate::catalog::{Cluster, Directory};
use crate::config::Config;
use crate::datasets::Manifests;
use crate::metrics::Metrics;
use crate::worker_api::TokenCache;

/// The facade's state; cheap to clone.
#[derive(Clone)]
pub struct App(Arc<Parts>);

pub struct Parts {
    pub config: Config,
    pub jobs: JobStore,
    pub objects: Arc<dyn ObjectStore>,
    /// Set when the object store is served by this process.
    pub embedded: Option<EmbeddedS3>,
    pub directory: Directory,
    pub cluster: Arc<dyn Cluster>,
    pub metrics: Arc<Metrics>,
    pub tokens: TokenCache,
    pub manifests: Manifests,
    /// Cancelled when the process is to end; long polls end with it.
    pub shutdown: CancellationToken,
}

impl App {
    pub fn new(parts: Parts) -> Self {
        Self(Arc::new(parts))
    }
}

impl Deref for App {
    type Target = Parts;

    fn deref(&self) -> &Parts {
        &self.0
    }
}
