//! The checkpoints in memory: loaded on demand, dropped by least recent use when the budget is spent.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use easel_protocol::FailureReport;
use easel_protocol::worker::{ModelFile, ModelPhase};

use super::entries::{Entries, ModelEntry};
use super::error::PoolError;
use super::states::{OnItsWay, StateBoard};
use crate::cache::{CacheError, CachedModel, DiskCache};
use crate::engine::api::{Engine, EngineError, LoadedModel, ModelLabel};
use crate::fetch;
use crate::worker::Metrics;

/// Weights on their way through disk into memory.
pub struct ModelPool {
    pub(super) engine: Arc<dyn Engine>,
    cache: Arc<DiskCache>,
    metrics: Arc<Metrics>,
    /// Bytes of weights to keep. A single model above it is still loaded: whether it fits is the kernel's call.
    budget_bytes: u64,
    entries: Mutex<Entries>,
    /// Models of several files, by their name.
    folders: Mutex<HashMap<String, Vec<ModelFile>>>,
    /// Held while a model is loaded: two at a time would double the peak.
    pub(super) loading: Arc<tokio::sync::Mutex<()>>,
    pub(super) board: Arc<StateBoard>,
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
            board: Arc::default(),
        }
    }

    /// How far each Model is.
    pub fn board(&self) -> Arc<StateBoard> {
        self.board.clone()
    }

    /// sha256 of every checkpoint in memory.
    pub fn held(&self) -> Vec<String> {
        self.entries().models.iter().map(|entry| entry.sha256.clone()).collect()
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
        let _way = OnItsWay { board: &self.board, model: &file.model };
        let cached = self.fetch(file, &files, on_progress).await?;
        on_progress(LoadStage::Loading);
        self.board.set(&file.model, ModelPhase::Loading);
        self.make_room(files.iter().map(|file| file.size_bytes).fold(0, u64::saturating_add));
        let began = Instant::now();
        let (engine, path) = (self.engine.clone(), cached.path().to_owned());
        let label = ModelLabel { file_name: file.file_name.clone(), sha256: Some(file.sha256.clone()) };
        let model = self.load(file, guard, move || engine.load(&path, &label)).await?;
        self.metrics.stage("load", began.elapsed());
        self.keep(|entries| {
            entries.models.push(ModelEntry {
                name: file.model.clone(),
                sha256: file.sha256.clone(),
                parts,
                model: model.clone(),
                last_used: Instant::now(),
                _files: cached,
            });
        });
        self.board.set(&file.model, ModelPhase::Loaded);
        Ok(Loaded { model, took: started.elapsed() })
    }

    /// Drops a model, for example because its engine panicked and nobody knows what state it is in.
    pub fn forget(&self, sha256: &str) {
        let mut entries = self.entries();
        let (gone, kept) = std::mem::take(&mut entries.models).into_iter().partition(|e| e.sha256 == sha256);
        entries.models = kept;
        let gone: Vec<ModelEntry> = gone;
        gone.iter().for_each(|entry| entries.gone(&entry.name, &self.board));
        self.report(&entries);
    }

    /// Keeps to the budget after a job, which may have left something for the next one.
    pub fn settle(&self) {
        self.make_room(0);
    }

    /// A model in memory keeps its files on disk; when the disk is full, idle models give way.
    pub(super) async fn fetch(
        &self,
        named: &ModelFile,
        files: &[ModelFile],
        on_progress: &mut (dyn FnMut(LoadStage) + Send),
    ) -> Result<CachedModel, PoolError> {
        loop {
            let mut on_progress = |progress| {
                self.board.set(&named.model, ModelPhase::Downloading);
                on_progress(LoadStage::Downloading(progress));
            };
            match self.cache.get_model(files, &mut on_progress).await {
                Err(CacheError::Full { .. }) if self.entries().drop_file(&self.board) => {}
                Ok(cached) => return Ok(cached),
                Err(source) => {
                    let (model, file) = (named.model.clone(), named.file_name.clone());
                    return Err(self.said(PoolError::Fetch { model, file, source }));
                }
            }
        }
    }

    /// Runs `load` on a thread of its own, and tells of a failure of it.
    pub(super) async fn load<T: Send + 'static>(
        &self,
        file: &ModelFile,
        guard: tokio::sync::OwnedMutexGuard<()>,
        load: impl FnOnce() -> Result<T, EngineError> + Send + 'static,
    ) -> Result<T, PoolError> {
        let loading = tokio::task::spawn_blocking(move || {
            // Also when nobody waits any more, the next load waits for this one.
            let _guard = guard;
            load()
        });
        let report = match loading.await {
            Ok(Ok(loaded)) => return Ok(loaded),
            Ok(Err(EngineError::Failed(report))) => report,
            Ok(Err(EngineError::Stopped)) => {
                FailureReport::new("LoadStopped", "the engine stopped while it loaded the weights", true)
            }
            // A panic on a file is a fault of the engine, and the same bytes will meet it again.
            Err(error) => FailureReport::new("EnginePanicked", error.to_string(), false),
        };
        Err(self.said(PoolError::Load { model: file.model.clone(), file: file.file_name.clone(), report }))
    }

    fn said(&self, error: PoolError) -> PoolError {
        let (PoolError::Fetch { model, .. } | PoolError::Load { model, .. }) = &error;
        self.board.failed(model, &error.report());
        error
    }

    fn lookup(&self, parts: &[String]) -> Option<Arc<dyn LoadedModel>> {
        let mut entries = self.entries();
        let entry = entries.models.iter_mut().find(|entry| entry.parts == parts)?;
        entry.last_used = Instant::now();
        Some(entry.model.clone())
    }

    pub(super) fn keep(&self, put: impl FnOnce(&mut Entries)) {
        put(&mut self.entries());
        // Weights may take more than the file did (f16 widened to f32).
        self.make_room(0);
    }

    /// Gives up what is not in use until `incoming` more bytes fit the budget.
    pub(super) fn make_room(&self, incoming: u64) {
        let mut entries = self.entries();
        entries.shrink(self.budget_bytes.saturating_sub(incoming), &self.board);
        self.report(&entries);
    }

    fn report(&self, entries: &Entries) {
        self.metrics.models_loaded(entries.models.len(), entries.used());
    }

    pub(super) fn entries(&self) -> MutexGuard<'_, Entries> {
        // A panic elsewhere leaves the list whole: every change is one call.
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
