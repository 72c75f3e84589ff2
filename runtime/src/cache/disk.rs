//! The cache directory: `<sha256>.safetensors` for whole files, `<sha256>.part` for transfers under way.
//!
//! A file gets its final name only after its hash was checked and its bytes were synced, so whatever has that
//! name is whole, also after a crash. A `.part` is continued by the next process. Names are made of checked
//! hashes only: nothing that a user names becomes a path.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use easel_protocol::worker::ModelFile;
use url::Url;

use super::error::CacheError;
use super::index::Index;
use crate::fetch::{FetchPolicy, PlainSource, Progress, Receiver, fetch};
use crate::worker::Metrics;

/// See the module.
pub struct DiskCache {
    directory: PathBuf,
    limit_bytes: Option<u64>,
    http: reqwest::Client,
    metrics: Arc<Metrics>,
    index: Arc<Mutex<Index>>,
    /// One transfer at a time: the second would compete for the same line, and for the same room.
    transfer: tokio::sync::Mutex<()>,
}

/// A whole file that stays in the cache as long as this value lives.
pub struct CachedFile {
    path: PathBuf,
    sha256: String,
    index: Arc<Mutex<Index>>,
}

impl CachedFile {
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for CachedFile {
    fn drop(&mut self) {
        lock(&self.index).unpin(&self.sha256);
    }
}

impl DiskCache {
    /// Takes over what is in `directory`. `limit_bytes`: `None` for no limit but the disk's.
    ///
    /// # Errors
    /// [`CacheError::Directory`] when the directory cannot be made or read.
    pub fn open(
        directory: &Path,
        limit_bytes: Option<u64>,
        http: reqwest::Client,
        metrics: Arc<Metrics>,
    ) -> Result<Self, CacheError> {
        let found =
            scan(directory).map_err(|source| CacheError::Directory { path: directory.to_owned(), source })?;
        let mut index = Index::default();
        found.iter().for_each(|(sha256, size)| index.add(sha256, *size));
        metrics.cache_bytes(index.total());
        Ok(Self {
            directory: directory.to_owned(),
            limit_bytes,
            http,
            metrics,
            index: Arc::new(Mutex::new(index)),
            transfer: tokio::sync::Mutex::default(),
        })
    }

    /// The file, transferred first if it is not here. A transfer whose hash is wrong is repeated once from the
    /// start: damage on the way passes, damage in the store does not.
    ///
    /// # Errors
    /// See [`CacheError`].
    pub async fn get(
        &self,
        file: &ModelFile,
        on_progress: &mut (dyn FnMut(Progress) + Send),
    ) -> Result<CachedFile, CacheError> {
        check_hash(&file.sha256)?;
        if let Some(cached) = self.pin(&file.sha256) {
            return Ok(cached);
        }
        let _one_at_a_time = self.transfer.lock().await;
        if let Some(cached) = self.pin(&file.sha256) {
            return Ok(cached);
        }
        self.make_room(file.size_bytes).await?;
        let mut result = self.transfer(file, on_progress).await;
        if matches!(result, Err(CacheError::Corrupt { .. })) {
            tracing::warn!(
                model = file.model,
                "the transferred file has a wrong hash; transferring it again"
            );
            result = self.transfer(file, on_progress).await;
        }
        self.metrics.download(result.is_ok());
        result?;
        self.index().add(&file.sha256, file.size_bytes);
        self.metrics.cache_bytes(self.index().total());
        let held = self.pin(&file.sha256);
        Ok(held.expect("it was added above, and only the holder of the transfer lock removes files"))
    }

    async fn transfer(
        &self,
        file: &ModelFile,
        on_progress: &mut (dyn FnMut(Progress) + Send),
    ) -> Result<(), CacheError> {
        let url = Url::parse(&file.url).map_err(|source| CacheError::BadUrl { source })?;
        let source = PlainSource { http: self.http.clone(), url };
        let part = self.directory.join(format!("{}.part", file.sha256));
        let policy = FetchPolicy {
            expected_bytes: Some(file.size_bytes),
            hash_known: true,
            ..FetchPolicy::new(file.size_bytes)
        };
        let received = async {
            let mut receiver = Receiver::resume_file(&part).await?;
            if receiver.len() > file.size_bytes {
                receiver.restart().await?;
            }
            if receiver.len() < file.size_bytes || receiver.is_empty() {
                fetch(&source, &mut receiver, &policy, on_progress).await?;
            }
            receiver.finish().await
        };
        let received = received.await.map_err(|source| CacheError::Fetch { source })?;
        let unusable = |source| CacheError::Directory { path: self.directory.clone(), source };
        if received.sha256 != file.sha256 {
            tokio::fs::remove_file(&part).await.map_err(unusable)?;
            return Err(CacheError::Corrupt { expected: file.sha256.clone(), actual: received.sha256 });
        }
        tokio::fs::rename(&part, self.path(&file.sha256)).await.map_err(unusable)
    }

    async fn make_room(&self, need: u64) -> Result<(), CacheError> {
        let Some(limit) = self.limit_bytes else { return Ok(()) };
        if need > limit {
            return Err(CacheError::LargerThanCache { need, limit });
        }
        let victims = {
            let mut index = self.index();
            let in_use = index.pinned();
            index.evict(need, limit).ok_or(CacheError::Full { need, in_use, limit })?
        };
        for sha256 in victims {
            tracing::info!(model.sha256 = sha256, "removed a file from the cache to make room");
            let removed = tokio::fs::remove_file(self.path(&sha256)).await;
            removed.map_err(|source| CacheError::Directory { path: self.directory.clone(), source })?;
        }
        Ok(())
    }

    fn pin(&self, sha256: &str) -> Option<CachedFile> {
        let here = self.index().pin(sha256);
        here.then(|| CachedFile {
            path: self.path(sha256),
            sha256: sha256.to_owned(),
            index: self.index.clone(),
        })
    }

    fn path(&self, sha256: &str) -> PathBuf {
        self.directory.join(format!("{sha256}.safetensors"))
    }

    fn index(&self) -> MutexGuard<'_, Index> {
        lock(&self.index)
    }
}

fn lock(index: &Mutex<Index>) -> MutexGuard<'_, Index> {
    // Every change of the index is one call that cannot stop half-way.
    index.lock().unwrap_or_else(PoisonError::into_inner)
}

fn check_hash(sha256: &str) -> Result<(), CacheError> {
    let good = sha256.len() == 64 && sha256.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
    if good { Ok(()) } else { Err(CacheError::BadHash { sha256: sha256.chars().take(80).collect() }) }
}

/// Whole files with their sizes, the oldest first.
fn scan(directory: &Path) -> std::io::Result<Vec<(String, u64)>> {
    std::fs::create_dir_all(directory)?;
    let mut found: Vec<(SystemTime, String, u64)> = Vec::new();
    for entry in std::fs::read_dir(directory)? {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        let Some(sha256) = name.strip_suffix(".safetensors") else { continue };
        if check_hash(sha256).is_ok() {
            let meta = entry.metadata()?;
            found.push((meta.modified()?, sha256.to_owned(), meta.len()));
        }
    }
    found.sort();
    Ok(found.into_iter().map(|(_, sha256, size)| (sha256, size)).collect())
}
