//! The networks that requests name, on their way into memory. They are the same for every model.

use std::sync::Arc;
use std::time::Instant;

use easel_protocol::NetworkFile;
use easel_protocol::worker::ModelPhase;

use super::entries::NetworkEntry;
use super::error::PoolError;
use super::models::{LoadStage, ModelPool};
use super::states::OnItsWay;
use crate::engine::api::{LoadedNetwork, ModelLabel, NamedNetwork};

impl ModelPool {
    /// The networks of a request, each from memory, disk or the network, in this order. They stay in memory as long
    /// as the answer lives. May be dropped at any time, as [`ModelPool::get`].
    ///
    /// # Errors
    /// See [`PoolError::report`].
    pub async fn networks(
        &self,
        wanted: &[NetworkFile],
        on_progress: &mut (dyn FnMut(LoadStage) + Send),
    ) -> Result<Vec<NamedNetwork>, PoolError> {
        let mut networks = Vec::with_capacity(wanted.len());
        for one in wanted {
            let network = self.network(one, on_progress).await?;
            networks.push(NamedNetwork { kind: one.kind, name: one.name.clone(), network });
        }
        Ok(networks)
    }

    async fn network(
        &self,
        wanted: &NetworkFile,
        on_progress: &mut (dyn FnMut(LoadStage) + Send),
    ) -> Result<Arc<dyn LoadedNetwork>, PoolError> {
        if let Some(network) = self.lookup_network(wanted) {
            return Ok(network);
        }
        let guard = self.loading.clone().lock_owned().await;
        if let Some(network) = self.lookup_network(wanted) {
            return Ok(network);
        }
        let file = &wanted.file;
        let _way = OnItsWay { board: &self.board, model: &file.model };
        let cached = self.fetch(file, std::slice::from_ref(file), on_progress).await?;
        on_progress(LoadStage::Loading);
        self.board.set(&file.model, ModelPhase::Loading);
        self.make_room(file.size_bytes);
        let (engine, kind, path) = (self.engine.clone(), wanted.kind, cached.path().to_owned());
        let label = ModelLabel { file_name: wanted.name.clone(), sha256: Some(file.sha256.clone()) };
        let network = self.load(file, guard, move || engine.load_network(&path, kind, &label)).await?;
        self.keep(|entries| {
            entries.networks.push(NetworkEntry {
                name: file.model.clone(),
                kind,
                sha256: file.sha256.clone(),
                network: network.clone(),
                last_used: Instant::now(),
                _file: cached,
            });
        });
        self.board.set(&file.model, ModelPhase::Loaded);
        Ok(network)
    }

    fn lookup_network(&self, wanted: &NetworkFile) -> Option<Arc<dyn LoadedNetwork>> {
        let mut entries = self.entries();
        let same =
            |entry: &&mut NetworkEntry| entry.kind == wanted.kind && entry.sha256 == wanted.file.sha256;
        let entry = entries.networks.iter_mut().find(same)?;
        entry.last_used = Instant::now();
        Some(entry.network.clone())
    }
}
