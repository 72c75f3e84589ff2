//! What every reconcile needs besides its object.

use std::time::Duration;

use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use kube::Client;
use kube::runtime::controller::Action;
use kube::runtime::events::{Recorder, Reporter};

use crate::backoff::{Backoff, jittered};
use crate::catalogue::Catalogue;
use crate::children::ApplyCache;
use crate::config::{Config, Egress, WorkVolume};
use crate::labels::FIELD_MANAGER;
use crate::metrics::Metrics;
use crate::model::SeenModels;

/// What builders need to know about the installation.
#[derive(Clone, Debug)]
pub struct Settings {
    pub runtime_image: String,
    pub runtime_image_cuda: String,
    pub image_pull_policy: &'static str,
    pub facade_url: String,
    /// Namespace of the facade.
    pub namespace: String,
    pub allowed_cidrs: Vec<String>,
    pub worker_egress: Vec<Egress>,
    pub import_work_limit: Quantity,
    /// Unset: imports work on their pods' own disks.
    pub import_volume: Option<WorkVolume>,
    pub import_deadline_seconds: i64,
    pub training_work_limit: Quantity,
    pub check_work_limit: Quantity,
    pub check_deadline_seconds: i64,
    pub catalogue: Catalogue,
}

impl Settings {
    pub fn new(config: &Config, catalogue: Catalogue) -> Self {
        let cuda = config.runtime_image_cuda.clone().filter(|image| !image.is_empty());
        Self {
            runtime_image: config.runtime_image.clone(),
            runtime_image_cuda: cuda.unwrap_or_else(|| config.runtime_image.clone()),
            image_pull_policy: config.image_pull_policy.as_str(),
            facade_url: config.facade_url(),
            namespace: config.namespace.clone(),
            allowed_cidrs: config.allowed_cidrs.iter().filter(|cidr| !cidr.is_empty()).cloned().collect(),
            worker_egress: config.worker_egress.0.clone(),
            import_work_limit: config.import_work_limit.clone(),
            import_volume: config.import_volume(),
            import_deadline_seconds: config.import_deadline_seconds,
            training_work_limit: config.training_work_limit.clone(),
            check_work_limit: config.check_work_limit.clone(),
            check_deadline_seconds: config.check_deadline_seconds,
            catalogue,
        }
    }
}

/// Shared by all reconciles of one process. Nothing in it has to survive the process.
pub struct Ctx {
    pub client: Client,
    pub settings: Settings,
    pub metrics: Metrics,
    pub events: Recorder,
    pub backoff: Backoff,
    pub applied: ApplyCache,
    /// Filled by the controllers' watches.
    pub models: SeenModels,
    resync: Duration,
}

impl Ctx {
    /// `instance` is this process' name in events.
    pub fn new(
        client: Client,
        settings: Settings,
        metrics: Metrics,
        instance: &str,
        resync: Duration,
    ) -> Self {
        let reporter = Reporter { controller: FIELD_MANAGER.to_owned(), instance: Some(instance.to_owned()) };
        Self {
            events: Recorder::new(client.clone(), reporter),
            client,
            settings,
            metrics,
            backoff: Backoff::default(),
            applied: ApplyCache::default(),
            models: SeenModels::default(),
            resync,
        }
    }

    /// Look again later although nothing is known to change.
    pub fn resync(&self) -> Action {
        Action::requeue(jittered(self.resync))
    }

    /// Look again at a known time, or at the next resync if that is earlier.
    pub fn resync_within(&self, wait: Option<Duration>) -> Action {
        match wait {
            Some(wait) if wait < self.resync => Action::requeue(wait),
            _ => self.resync(),
        }
    }
}
