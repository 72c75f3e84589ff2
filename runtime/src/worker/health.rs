//! Is the worker ready, and if not, why.

use std::sync::{Mutex, MutexGuard, PoisonError};

use easel_protocol::worker::{ModelFile, ModelSet};
use serde::Serialize;
use tokio::sync::watch;

/// Shared by the loops that change it and the server that shows it.
#[derive(Debug)]
pub struct Health {
    state: Mutex<State>,
    /// Every model that the facade can hand out was loaded at least once.
    loaded: watch::Sender<bool>,
}

#[derive(Debug, Default)]
struct State {
    set: Option<ModelSet>,
    /// sha256 of the models of the set that were loaded.
    loaded: Vec<String>,
    trouble: Option<Reason>,
    draining: bool,
}

/// One thing that keeps the worker from being ready.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Reason {
    /// Stable CamelCase word.
    pub reason: String,
    pub message: String,
}

/// The body of `/readyz`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Readiness {
    pub ready: bool,
    pub reasons: Vec<Reason>,
}

impl Default for Health {
    fn default() -> Self {
        Self { state: Mutex::default(), loaded: watch::Sender::new(false) }
    }
}

impl Health {
    pub fn new() -> Self {
        Self::default()
    }

    /// What `/readyz` says now.
    pub fn readiness(&self) -> Readiness {
        let reasons = reasons(&self.state());
        Readiness { ready: reasons.is_empty(), reasons }
    }

    /// Waits until every model of the set that is there to be loaded was loaded.
    pub(super) async fn models_loaded(&self) {
        let mut receiver = self.loaded.subscribe();
        receiver.wait_for(|loaded| *loaded).await.expect("the sender lives as long as self");
    }

    pub(super) fn target(&self, set: ModelSet) {
        let mut state = self.state();
        state.loaded.retain(|sha256| files(&set).any(|file| file.sha256 == *sha256));
        state.set = Some(set);
        self.publish(&state);
    }

    pub(super) fn loaded(&self, sha256: &str) {
        let mut state = self.state();
        state.loaded.push(sha256.to_owned());
        state.trouble = None;
        self.publish(&state);
    }

    /// A fault that is being worked on; shown until the next success.
    pub(super) fn trouble(&self, reason: &str, message: String) {
        self.state().trouble = Some(Reason { reason: reason.to_owned(), message });
    }

    pub(super) fn draining(&self) {
        self.state().draining = true;
    }

    pub(super) fn is_draining(&self) -> bool {
        self.state().draining
    }

    fn publish(&self, state: &State) {
        let done =
            state.set.as_ref().is_some_and(|set| files(set).all(|file| state.loaded.contains(&file.sha256)));
        self.loaded.send_replace(done);
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Everything that the worker is to hold.
fn files(set: &ModelSet) -> impl Iterator<Item = &ModelFile> {
    set.models.iter().chain(set.networks.iter().map(|network| &network.file))
}

fn reasons(state: &State) -> Vec<Reason> {
    let reason = |reason: &str, message: String| Reason { reason: reason.to_owned(), message };
    let mut reasons = Vec::new();
    if state.draining {
        reasons.push(reason("Draining", "the worker finishes its job and takes no other".into()));
    }
    match &state.set {
        None => {
            let message = "the facade has not told yet which models to hold";
            reasons.push(reason("ModelSetUnknown", message.into()));
        }
        Some(set) => {
            reasons.extend(set.pending.iter().map(|pending| {
                reason("ModelNotReady", format!("model {}: {}", pending.model, pending.reason))
            }));
            let missing = files(set).filter(|file| !state.loaded.contains(&file.sha256));
            reasons.extend(missing.map(|model| {
                reason("ModelLoading", format!("model {} ({}) is being loaded", model.model, model.file_name))
            }));
        }
    }
    if let (Some(trouble), false) = (&state.trouble, reasons.is_empty()) {
        reasons.push(trouble.clone());
    }
    reasons
}

#[cfg(test)]
mod tests {
    use easel_protocol::worker::PendingModel;
    use easel_protocol::{NetworkFile, NetworkKind};

    use super::*;

    fn set(models: &[&str], pending: &[&str]) -> ModelSet {
        let file = |name: &&str| ModelFile {
            model: (*name).into(),
            file_name: format!("{name}.safetensors"),
            sha256: format!("sha-{name}"),
            size_bytes: 1,
            url: String::new(),
        };
        let waits = |name: &&str| PendingModel { model: (*name).into(), reason: "WaitingForUpload".into() };
        ModelSet {
            version: "1".into(),
            models: models.iter().map(file).collect(),
            networks: Vec::new(),
            pending: pending.iter().map(waits).collect(),
        }
    }

    fn words(health: &Health) -> Vec<String> {
        health.readiness().reasons.into_iter().map(|reason| reason.reason).collect()
    }

    #[test]
    fn ready_means_that_the_whole_set_was_loaded() {
        let health = Health::new();
        assert_eq!(words(&health), ["ModelSetUnknown"]);
        health.trouble("FacadeUnreachable", "connection refused".into());
        assert_eq!(words(&health), ["ModelSetUnknown", "FacadeUnreachable"]);
        health.target(set(&["a", "b"], &["c"]));
        health.loaded("sha-a");
        assert_eq!(words(&health), ["ModelNotReady", "ModelLoading"]);
        health.loaded("sha-b");
        assert!(*health.loaded.borrow(), "pending models do not keep the others from being served");
        assert_eq!(words(&health), ["ModelNotReady"]);
        health.target(set(&["b"], &[]));
        assert!(health.readiness().ready, "a smaller set needs no loading");
        health.target(set(&["b", "d"], &[]));
        assert_eq!(words(&health), ["ModelLoading"]);
        let network = NetworkFile {
            kind: NetworkKind::Lora,
            name: "ink".into(),
            file: set(&["ink"], &[]).models.remove(0),
        };
        health.target(ModelSet { networks: vec![network], ..set(&["b"], &[]) });
        assert_eq!(words(&health), ["ModelLoading"], "listed networks are to be held as well");
        health.loaded("sha-ink");
        assert!(health.readiness().ready);
        health.target(set(&[], &[]));
        assert!(health.readiness().ready, "an empty set is a whole set");
        health.trouble("FacadeUnreachable", "connection refused".into());
        assert!(health.readiness().ready, "a facade that is away for a while unreadies nobody");
        health.draining();
        assert_eq!(words(&health), ["Draining", "FacadeUnreachable"]);
    }
}
