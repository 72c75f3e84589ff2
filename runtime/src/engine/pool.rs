//! The models in memory: loaded on demand, dropped by least recent use when the budget is spent.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use easel_protocol::FailureReport;
use easel_protocol::worker::ModelFile;

use super::api::{Engine, EngineError, LoadedModel, ModelLabel};
use crate::cache::{CacheError, CachedModel, DiskCache};
use crate::fetch;
use crate::worker::Metrics;

/// Weights on their way through disk into memory.
pub struct ModelPool {
    engine: Arc<dyn Engine>,
    cache: Arc<DiskCache>,
    metrics: Arc<Metrics>,
    /// Bytes of weights to keep. A single model above it is still loaded: whether it fits is the kernel's call.
    budget_bytes: u64,
    entries: Mutex<Vec<Entry>>,
    /// Models of several files, by their name.
    folders: Mutex<HashMap<String, Vec<ModelFile>>>,
    /// Held while a model is loaded: two at a time would double the peak.
    loading: Arc<tokio::sync::Mutex<()>>,
}

struct Entry {
    /// Of the file that a job names.
    sha256: String,
    /// Of all its files, in order: two models may share the one that a job names.
    parts: Vec<String>,
    model: Arc<dyn LoadedModel>,
    last_used: Instant,
    /// The weights may be mapped from its files, so they stay in the cache as long as the model is here.
    _files: CachedModel,
}

/// A model ready for use.
pub struct Loaded {
    pub model: Arc<dyn LoadedModel>,
    /// What this call spent on transfer and loading; zero when the model was there.
    pub took: Duration,
}

/// Stages of [`ModelPool::get`], for progress reports.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LoadStage {
    Downloading(fetch::Progress),
    Loading,
}

#[derive(Debug, thiserror::Error)]
pub enum PoolError {
    #[error("model {model}: {file} cannot be fetched")]
    Fetch { model: String, file: String, source: CacheError },
    #[error("model {model}: {file} cannot be loaded: {}", .report.message)]
    Load { model: String, file: String, report: FailureReport },
}

impl PoolError {
    /// The failure for a status: the engine's own reason for bad weights.
    pub fn report(&self) -> FailureReport {
        let message = crate::error::chain(self);
        match self {
            Self::Fetch { source, .. } => FailureReport::new(source.reason(), message, source.retriable()),
            Self::Load { report, .. } => FailureReport::new(&report.reason, message, report.retriable),
        }
    }
}

impl ModelPool {
    pub fn new(
        engine: Arc<dyn Engine>,
        cache: Arc<DiskCache>,
        metrics: Arc<Metrics>,
        budget_bytes: u64,
    ) -> Self {
        Self {
            engine,
            cache,
            metrics,
            budget_bytes,
            entries: Mutex::default(),
            folders: Mutex::default(),
            loading: Arc::default(),
        }
    }

    /// sha256 of every model in memory.
    pub fn held(&self) -> Vec<String> {
        self.entries().iter().map(|entry| entry.sha256.clone()).collect()
    }

    /// Says which models are folders, each with all its files. A job names just one of them. To be said again when
    /// the addresses are new.
    pub fn set_folders(&self, folders: HashMap<String, Vec<ModelFile>>) {
        *self.folders.lock().unwrap_or_else(PoisonError::into_inner) = folders;
    }

    /// All files of the model that `file` is of.
    fn files_of(&self, file: &ModelFile) -> Vec<ModelFile> {
        let folders = self.folders.lock().unwrap_or_else(PoisonError::into_inner);
        let folder = folders.get(&file.model).filter(|files| files.iter().any(|f| f.sha256 == file.sha256));
        folder.cloned().unwrap_or_else(|| vec![file.clone()])
    }

    /// The model of `file`, from memory, disk or the network, in this order. May be dropped at any time: the
    /// transfer stops then, and can be continued; a load that has begun ends on its own and is thrown away.
    ///
    /// # Errors
    /// See [`PoolError::report`].
    pub async fn get(
        &self,
        file: &ModelFile,
        on_progress: &mut (dyn FnMut(LoadStage) + Send),
    ) -> Result<Loaded, PoolError> {
        let files = self.files_of(file);
        let parts: Vec<_> = files.iter().map(|file| file.sha256.clone()).collect();
        if let Some(model) = self.lookup(&parts) {
            return Ok(Loaded { model, took: Duration::ZERO });
        }
        let started = Instant::now();
        let guard = self.loading.clone().lock_owned().await;
        if let Some(model) = self.lookup(&parts) {
            return Ok(Loaded { model, took: started.elapsed() });
        }
        let cached = self.fetch(&files, on_progress).await.map_err(|source| PoolError::Fetch {
            model: file.model.clone(),
            file: file.file_name.clone(),
            source,
        })?;
        on_progress(LoadStage::Loading);
        self.make_room(files.iter().map(|file| file.size_bytes).fold(0, u64::saturating_add));
        let began = Instant::now();
        let model = self.load(file, &cached, guard).await?;
        self.metrics.stage("load", began.elapsed());
        self.keep(Entry {
            sha256: file.sha256.clone(),
            parts,
            model: model.clone(),
            last_used: Instant::now(),
            _files: cached,
        });
        Ok(Loaded { model, took: started.elapsed() })
    }

    /// Drops a model, for example because its engine panicked and nobody knows what state it is in.
    pub fn forget(&self, sha256: &str) {
        let mut entries = self.entries();
        entries.retain(|entry| entry.sha256 != sha256);
        self.report(&entries);
    }

    /// A model in memory keeps its files on disk; when the disk is full, idle models give way.
    async fn fetch(
        &self,
        files: &[ModelFile],
        on_progress: &mut (dyn FnMut(LoadStage) + Send),
    ) -> Result<CachedModel, CacheError> {
        loop {
            let mut on_progress = |progress| on_progress(LoadStage::Downloading(progress));
            match self.cache.get_model(files, &mut on_progress).await {
                Err(CacheError::Full { .. }) if drop_oldest_idle(&mut self.entries()) => {}
                other => return other,
            }
        }
    }

    async fn load(
        &self,
        file: &ModelFile,
        cached: &CachedModel,
        guard: tokio::sync::OwnedMutexGuard<()>,
    ) -> Result<Arc<dyn LoadedModel>, PoolError> {
        let engine = self.engine.clone();
        let path = cached.path().to_owned();
        let label = ModelLabel { file_name: file.file_name.clone(), sha256: Some(file.sha256.clone()) };
        let loading = tokio::task::spawn_blocking(move || {
            // Also when nobody waits any more, the next load waits for this one.
            let _guard = guard;
            engine.load(&path, &label)
        });
        let report = match loading.await {
            Ok(Ok(model)) => return Ok(model),
            Ok(Err(EngineError::Failed(report))) => report,
            Ok(Err(EngineError::Stopped)) => {
                FailureReport::new("LoadStopped", "the engine stopped while it loaded the weights", true)
            }
            // A panic on a file is a fault of the engine, and the same bytes will meet it again.
            Err(error) => FailureReport::new("EnginePanicked", error.to_string(), false),
        };
        Err(PoolError::Load { model: file.model.clone(), file: file.file_name.clone(), report })
    }

    fn lookup(&self, parts: &[String]) -> Option<Arc<dyn LoadedModel>> {
        let mut entries = self.entries();
        let entry = entries.iter_mut().find(|entry| entry.parts == parts)?;
        entry.last_used = Instant::now();
        Some(entry.model.clone())
    }

    fn keep(&self, entry: Entry) {
        let mut entries = self.entries();
        entries.push(entry);
        drop(entries);
        // Weights may take more than the file did (f16 widened to f32).
        self.make_room(0);
    }

    /// Drops idle models, the least recently used first, until `incoming` more bytes fit the budget.
    fn make_room(&self, incoming: u64) {
        let mut entries = self.entries();
        while used(&entries).saturating_add(incoming) > self.budget_bytes && drop_oldest_idle(&mut entries) {}
        self.report(&entries);
    }

    fn report(&self, entries: &[Entry]) {
        self.metrics.models_loaded(entries.len(), used(entries));
    }

    fn entries(&self) -> MutexGuard<'_, Vec<Entry>> {
        // A panic elsewhere leaves the list whole: every change is one call.
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Returns whether there was one.
fn drop_oldest_idle(entries: &mut Vec<Entry>) -> bool {
    entries.sort_by_key(|entry| entry.last_used);
    // Who uses a model, or is about to, holds a second reference to it.
    let Some(index) = entries.iter().position(|entry| Arc::strong_count(&entry.model) == 1) else {
        return false;
    };
    let entry = entries.remove(index);
    tracing::info!(model.sha256 = entry.sha256, "dropped a model from memory to make room");
    true
}

fn used(entries: &[Entry]) -> u64 {
    entries.iter().map(|entry| entry.model.weight_bytes()).sum()
}
