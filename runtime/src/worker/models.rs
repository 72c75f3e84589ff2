//! Follows the endpoint's model set: fetches and loads what is listed, and says when it cannot. A model of several
//! files is a folder in the layout of diffusers, loaded as one, or else weights each by themselves.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use easel_protocol::FailureReport;
use easel_protocol::import::is_side_file;
use easel_protocol::worker::{ModelFile, ModelSet};
use tokio::time::sleep;

use super::health::Health;
use crate::backoff::Backoff;
use crate::engine::{ModelPool, PoolError};
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
            // Also of a set that is known: its addresses are fresh.
            self.pool.set_folders(folders_of(&set));
            if known.as_ref() == Some(&set.version) {
                continue;
            }
            tracing::info!(
                version = set.version,
                models = set.models.len(),
                networks = set.networks.len(),
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
        let folders = folders_of(set);
        for file in &set.models {
            let folder = folders.get(&file.model);
            // Of a folder the first weights stand for all; a side file goes along with weights or is of no use.
            let stands_for_all = folder.is_none_or(|files| named_weights(files) == Some(file));
            if stands_for_all && is_weights(file) {
                self.load(file).await?;
            }
            self.health.loaded(&file.sha256);
        }
        for network in &set.networks {
            let began = Instant::now();
            let loaded = self.pool.networks(std::slice::from_ref(network), &mut |_| {}).await;
            told(&network.file, loaded.map(|_| began.elapsed()))?;
            self.health.loaded(&network.file.sha256);
        }
        Ok(())
    }

    async fn load(&self, file: &ModelFile) -> Result<(), FailureReport> {
        told(file, self.pool.get(file, &mut |_| {}).await.map(|loaded| loaded.took))
    }
}

fn told(file: &ModelFile, loaded: Result<Duration, PoolError>) -> Result<(), FailureReport> {
    match loaded {
        Ok(took) => {
            let duration_ms = u64::try_from(took.as_millis()).unwrap_or(u64::MAX);
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

/// The models of the set that are folders, with all their files.
fn folders_of(set: &ModelSet) -> HashMap<String, Vec<ModelFile>> {
    let mut models: HashMap<String, Vec<ModelFile>> = HashMap::new();
    for file in &set.models {
        models.entry(file.model.clone()).or_default().push(file.clone());
    }
    models
        .retain(|_, files| files.iter().any(|file| file.file_name.starts_with("unet/") && is_weights(file)));
    models
}

/// The file that a job names when it means the folder: the facade takes the first weights too.
fn named_weights(files: &[ModelFile]) -> Option<&ModelFile> {
    files.iter().find(|file| is_weights(file))
}

/// What is imported as weights is safetensors; older Models may call them otherwise.
fn is_weights(file: &ModelFile) -> bool {
    !is_side_file(&file.file_name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_is_known_by_its_unet_and_named_by_its_first_weights() {
        let file = |model: &str, name: &str| ModelFile {
            model: model.into(),
            file_name: name.into(),
            sha256: String::new(),
            size_bytes: 1,
            url: String::new(),
        };
        let set = ModelSet {
            version: "1".into(),
            models: vec![
                file("lone", "a.safetensors"),
                file("folder", "unet/config.json"),
                file("folder", "unet/diffusion_pytorch_model.safetensors"),
                file("folder", "vae/diffusion_pytorch_model.safetensors"),
                file("pair", "b.safetensors"),
                file("pair", "b.yaml"),
            ],
            networks: Vec::new(),
            pending: Vec::new(),
        };
        let folders = folders_of(&set);
        assert_eq!(folders.keys().collect::<Vec<_>>(), ["folder"]);
        assert_eq!(folders["folder"].len(), 3);
        let named = named_weights(&folders["folder"]).map(|file| file.file_name.as_str());
        assert_eq!(named, Some("unet/diffusion_pytorch_model.safetensors"));
        assert!(!is_weights(&set.models[5]));
    }
}
