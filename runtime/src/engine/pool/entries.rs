//! The list of what is in memory, and what of it goes first.
//!
//! Cheap to have again before dear: networks, which are small files on the disk; then what models keep for requests
//! with the same networks; then whole models. Of each the least recently used first, and nothing that is in use.

use std::sync::Arc;
use std::time::Instant;

use easel_protocol::NetworkKind;

use super::states::StateBoard;
use crate::cache::CachedModel;
use crate::engine::api::{LoadedModel, LoadedNetwork};

/// A checkpoint.
pub(super) struct ModelEntry {
    /// Name of the Model object.
    pub(super) name: String,
    /// Of the file that a job names.
    pub(super) sha256: String,
    /// Of all its files, in order: two models may share the one that a job names.
    pub(super) parts: Vec<String>,
    pub(super) model: Arc<dyn LoadedModel>,
    pub(super) last_used: Instant,
    /// The weights may be mapped from its files, so they stay in the cache as long as the model is here.
    pub(super) _files: CachedModel,
}

/// A network, whatever requests call it.
pub(super) struct NetworkEntry {
    pub(super) name: String,
    pub(super) kind: NetworkKind,
    pub(super) sha256: String,
    pub(super) network: Arc<dyn LoadedNetwork>,
    pub(super) last_used: Instant,
    pub(super) _file: CachedModel,
}

#[derive(Default)]
pub(super) struct Entries {
    pub(super) models: Vec<ModelEntry>,
    pub(super) networks: Vec<NetworkEntry>,
}

impl Entries {
    /// Bytes of all of it.
    pub(super) fn used(&self) -> u64 {
        let models = self.models.iter().map(|e| e.model.weight_bytes().saturating_add(e.model.kept_bytes()));
        let networks = self.networks.iter().map(|entry| entry.network.bytes());
        models.chain(networks).fold(0, u64::saturating_add)
    }

    /// Gives up what is not in use until no more than `most` bytes are, or nothing is left to give up.
    pub(super) fn shrink(&mut self, most: u64, board: &StateBoard) {
        while self.used() > most && self.drop_network(board) {}
        self.models.sort_by_key(|entry| entry.last_used);
        for at in 0..self.models.len() {
            let excess = self.used().saturating_sub(most);
            let model = &self.models[at].model;
            let kept = model.kept_bytes();
            // Who uses a model, or is about to, holds a second reference to it.
            if excess > 0 && kept > 0 && Arc::strong_count(model) == 1 {
                model.shrink(kept.saturating_sub(excess));
            }
        }
        while self.used() > most && self.drop_model(board) {}
    }

    /// Gives up one file on the disk. Returns whether there was one that nobody uses.
    pub(super) fn drop_file(&mut self, board: &StateBoard) -> bool {
        self.drop_network(board) || self.drop_model(board)
    }

    fn drop_network(&mut self, board: &StateBoard) -> bool {
        self.networks.sort_by_key(|entry| entry.last_used);
        let Some(at) = self.networks.iter().position(|entry| Arc::strong_count(&entry.network) == 1) else {
            return false;
        };
        let entry = self.networks.remove(at);
        tracing::info!(model.sha256 = entry.sha256, "dropped a network from memory to make room");
        self.gone(&entry.name, board);
        true
    }

    fn drop_model(&mut self, board: &StateBoard) -> bool {
        self.models.sort_by_key(|entry| entry.last_used);
        let Some(at) = self.models.iter().position(|entry| Arc::strong_count(&entry.model) == 1) else {
            return false;
        };
        let entry = self.models.remove(at);
        tracing::info!(model.sha256 = entry.sha256, "dropped a model from memory to make room");
        self.gone(&entry.name, board);
        true
    }

    /// Takes the Model off the board, unless other bytes of it are here.
    pub(super) fn gone(&self, name: &str, board: &StateBoard) {
        let here = self.models.iter().any(|entry| entry.name == name)
            || self.networks.iter().any(|entry| entry.name == name);
        if !here {
            board.remove(name);
        }
    }
}
