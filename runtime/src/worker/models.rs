//! Follows the endpoint's model set: fetches and loads what is listed, and says when it cannot.

use std::sync::Arc;
use std::time::Duration;

use easel_protocol::FailureReport;
use easel_protocol::worker::{ModelFile, ModelSet};
use tokio::time::sleep;

use super::health::Health;
use crate::backoff::Backoff;
use crate::engine::ModelPool;
use crate::error::chain;
use crate::facade::Facade;

/// Tries of one set with retriable failures before the process gives up and lets Kubernetes, and the person who
/// looks at the pod, know. Each try has fresh addresses, and the transfer inside has tries of its own.
const TRIES: u32 = 4;

pub(super) struct ModelWatcher {
    pub(super) facade: Facade,
    pub(super) pool: Arc<ModelPool>,
    pub(super) health: Arc<Health>,
}

impl ModelWatcher {
    /// Runs until a model cannot be loaded; returns why.
    pub(super) async fn run(self) -> FailureReport {
        let mut known: Option<String> = None;
        let mut backoff = Backoff::new(Duration::from_millis(250), Duration::from_secs(10));
        let mut load_backoff = backoff.clone();
        loop {
            let set = match self.facade.models(known.as_deref()).await {
                Ok(set) => set,
                Err(error) => {
                    // Never fatal: a facade that is away comes back, and a worker may run before its endpoint is known.
                    tracing::warn!(error = %chain(&error), "cannot get the model set; trying again");
                    self.health.trouble(error.reason(), chain(&error));
                    sleep(backoff.next_delay()).await;
                    continue;
                }
            };
            backoff.reset();
            if known.as_ref() == Some(&set.version) {
                continue;
            }
            tracing::info!(
                version = set.version,
                models = set.models.len(),
                pending = set.pending.len(),
                "model set"
            );
            match self.load_all(&set).await {
                Ok(()) => {
                    known = Some(set.version);
                    load_backoff.reset();
                }
                Err(report) => {
                    if !report.retriable || load_backoff.tries() + 1 >= TRIES {
                        return report;
                    }
                    self.health.trouble(&report.reason, report.message);
                    // Asking without `known` brings fresh addresses.
                    known = None;
                    sleep(load_backoff.next_delay()).await;
                }
            }
        }
    }

    async fn load_all(&self, set: &ModelSet) -> Result<(), FailureReport> {
        self.health.target(set.clone());
        for file in &set.models {
            self.load(file).await?;
            self.health.loaded(&file.sha256);
        }
        Ok(())
    }

    async fn load(&self, file: &ModelFile) -> Result<(), FailureReport> {
        match self.pool.get(file, &mut |_| {}).await {
            Ok(loaded) => {
                let duration_ms = u64::try_from(loaded.took.as_millis()).unwrap_or(u64::MAX);
                tracing::info!(model = file.model, file = file.file_name, duration_ms, "model is in memory");
                Ok(())
            }
            Err(error) => {
                let report = error.report();
                tracing::error!(
                    model = file.model,
                    reason = report.reason,
                    retriable = report.retriable,
                    error = report.message,
                    "cannot load the model"
                );
                Err(report)
            }
        }
    }
}
