//! The cache directory, which the pods of a node may share.
//!
//! | name | what |
//! |---|---|
//! | `<sha256>.safetensors` | a whole file |
//! | `<sha256>.part`, `<sha256>.part.ranges` | a transfer under way, and which of its parts are whole |
//! | `folders/<digest>/` | the files of one model under their own names, as links |
//! | `locks/` | who uses what; see [`super::locks`] |
//!
//! A file gets its final name only after its hash was checked and its bytes were synced, so whatever has that
//! name is whole, also after a crash. A `.part` is continued by the next process. Names are made of checked
//! hashes only: nothing that a user names becomes a path, but for the names below `folders`, which are checked.

use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use easel_protocol::worker::ModelFile;
use url::Url;

use super::error::CacheError;
use super::folder;
use super::index::{Entry, excess, oldest_first, total};
use super::locks::{Held, Locks};
use crate::fetch::{FetchPolicy, PartFile, PlainSource, Progress, fetch_file, free_bytes};
use crate::worker::Metrics;

const WHOLE: &str = ".safetensors";
const PART: &str = ".part";

/// See the module.
pub struct DiskCache {
    directory: PathBuf,
    limit_bytes: Option<u64>,
    http: reqwest::Client,
    metrics: Arc<Metrics>,
    locks: Locks,
}

/// A whole file that stays in the cache as long as this value lives.
#[derive(Debug)]
pub struct CachedFile {
    path: PathBuf,
    _usage: Held,
}

impl CachedFile {
    pub fn path(&self) -> &Path {
        &self.path
    }
}

/// The whole files of a model, which stay in the cache as long as this value lives.
#[derive(Debug)]
pub struct CachedModel {
    path: PathBuf,
    _files: Vec<CachedFile>,
}

impl CachedModel {
    /// A file, or the folder that several are in.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl DiskCache {
    /// Takes over what is in `directory`. `limit_bytes`: `None` for no limit but the disk's. Pods that share a
    /// directory hold it to the limit of whichever fetches.
    ///
    /// # Errors
    /// [`CacheError::Directory`] when the directory cannot be made or read.
    pub fn open(
        directory: &Path,
        limit_bytes: Option<u64>,
        http: reqwest::Client,
        metrics: Arc<Metrics>,
    ) -> Result<Self, CacheError> {
        let unusable = |source| CacheError::Directory { path: directory.to_owned(), source };
        std::fs::create_dir_all(directory).map_err(unusable)?;
        let locks = Locks::open(directory).map_err(unusable)?;
        let cache = Self { directory: directory.to_owned(), limit_bytes, http, metrics, locks };
        cache.metrics.cache_bytes(total(&cache.scan().map_err(unusable)?));
        Ok(cache)
    }

    /// The files of a model: one as it is, several in a folder under the names that their owner gave them.
    ///
    /// # Errors
    /// See [`CacheError`].
    pub async fn get_model(
        &self,
        files: &[ModelFile],
        on_progress: &mut (dyn FnMut(Progress) + Send),
    ) -> Result<CachedModel, CacheError> {
        let all = files.iter().map(|file| file.size_bytes).fold(0, u64::saturating_add);
        let mut cached = Vec::with_capacity(files.len());
        let mut before = 0;
        for file in files {
            let mut overall = |progress: Progress| {
                on_progress(Progress { received: before + progress.received, total: Some(all) });
            };
            cached.push(self.get(file, &mut overall).await?);
            before += file.size_bytes;
        }
        let path = match cached.as_slice() {
            [lone] => lone.path.clone(),
            _ => folder::lay_out(&self.directory, files)?,
        };
        Ok(CachedModel { path, _files: cached })
    }

    /// The file, transferred first if it is not here. A transfer whose hash is wrong is repeated once from the
    /// start: damage on the way passes, damage in the store does not. One transfer at a time, over all processes: the
    /// second would compete for the same line, and for the same room.
    ///
    /// # Errors
    /// See [`CacheError`].
    pub async fn get(
        &self,
        file: &ModelFile,
        on_progress: &mut (dyn FnMut(Progress) + Send),
    ) -> Result<CachedFile, CacheError> {
        check_hash(&file.sha256)?;
        if let Some(cached) = self.present(file).await? {
            return Ok(cached);
        }
        let _one_at_a_time = self.locks.transfer().await.map_err(|source| self.unusable(source))?;
        if let Some(cached) = self.present(file).await? {
            return Ok(cached);
        }
        self.make_room(file)?;
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
        self.metrics.cache_bytes(total(&self.scan().map_err(|source| self.unusable(source))?));
        let here = self.present(file).await?;
        // Only the holder of the transfer lock removes files; who else did is no process of ours.
        here.ok_or_else(|| self.unusable(io::ErrorKind::NotFound.into()))
    }

    /// The file if it is here, whole; held. One of another length was damaged after it was checked: it goes when
    /// nobody uses it.
    async fn present(&self, file: &ModelFile) -> Result<Option<CachedFile>, CacheError> {
        let path = self.path(&file.sha256, WHOLE);
        let usage = self.locks.usage(&file.sha256).await.map_err(|source| self.unusable(source))?;
        match std::fs::metadata(&path) {
            Ok(metadata) if metadata.len() == file.size_bytes => Ok(Some(CachedFile { path, _usage: usage })),
            Ok(metadata) => {
                tracing::warn!(
                    model.sha256 = file.sha256,
                    size_bytes = metadata.len(),
                    "a file in the cache has another length than its model says; it is transferred again"
                );
                Ok(None)
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(source) => Err(self.unusable(source)),
        }
    }

    async fn transfer(
        &self,
        file: &ModelFile,
        on_progress: &mut (dyn FnMut(Progress) + Send),
    ) -> Result<(), CacheError> {
        let url = Url::parse(&file.url).map_err(|source| CacheError::BadUrl { source })?;
        let source = PlainSource { http: self.http.clone(), url };
        let part = PartFile::new(self.path(&file.sha256, PART), &file.sha256);
        let policy = FetchPolicy {
            expected_bytes: Some(file.size_bytes),
            hash_known: true,
            ..FetchPolicy::new(file.size_bytes)
        };
        let failed = |source| CacheError::Fetch { source };
        let received = fetch_file(&source, &part, &policy, on_progress).await.map_err(failed)?;
        if received.sha256 != file.sha256 {
            part.remove().await.map_err(failed)?;
            return Err(CacheError::Corrupt { expected: file.sha256.clone(), actual: received.sha256 });
        }
        let named = async {
            tokio::fs::rename(part.path(), self.path(&file.sha256, WHOLE)).await?;
            tokio::fs::File::open(&self.directory).await?.sync_all().await
        };
        named.await.map_err(|source| self.unusable(source))?;
        part.forget().await.map_err(failed)
    }

    /// Removes what is used least until `file` fits. To be called by the holder of the transfer lock.
    fn make_room(&self, file: &ModelFile) -> Result<(), CacheError> {
        let need = file.size_bytes;
        if let Some(limit) = self.limit_bytes.filter(|limit| need > *limit) {
            return Err(CacheError::LargerThanCache { need, limit });
        }
        let unusable = |source| self.unusable(source);
        let entries = self.scan().map_err(unusable)?;
        // What is there of the file itself is continued.
        let (own, mut others): (Vec<_>, Vec<_>) =
            entries.into_iter().partition(|entry| entry.sha256 == file.sha256 && !entry.whole);
        let here = total(&own).min(need);
        others = oldest_first(others);
        let mut left = total(&others);
        let mut kept = 0;
        for entry in &others {
            let free = free_bytes(&self.directory).map_err(unusable)?;
            let over = self.limit_bytes.map_or(0, |limit| left.saturating_add(need).saturating_sub(limit));
            if over.max(excess(left, need - here, None, free)) == 0 {
                break;
            }
            match self.remove(entry).map_err(unusable)? {
                true => left = left.saturating_sub(entry.size),
                false => kept += entry.size,
            }
        }
        if let Some(limit) = self.limit_bytes.filter(|limit| left.saturating_add(need) > *limit) {
            return Err(CacheError::Full { need, in_use: kept, limit });
        }
        let free = free_bytes(&self.directory).map_err(unusable)?;
        if need - here > free && kept > 0 {
            let limit = left.saturating_add(free).saturating_add(here);
            return Err(CacheError::Full { need, in_use: kept, limit });
        }
        folder::sweep(&self.directory).map_err(unusable)
    }

    /// Returns whether it could go; what is in use stays.
    fn remove(&self, entry: &Entry) -> io::Result<bool> {
        let Some(_removal) = self.locks.removal(&entry.sha256)? else { return Ok(false) };
        match entry.whole {
            true => std::fs::remove_file(self.path(&entry.sha256, WHOLE))?,
            false => {
                std::fs::remove_file(self.path(&entry.sha256, PART))?;
                match std::fs::remove_file(self.path(&entry.sha256, ".part.ranges")) {
                    Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                    _ => {}
                }
            }
        }
        tracing::info!(model.sha256 = entry.sha256, "removed a file from the cache to make room");
        Ok(true)
    }

    /// What is in the directory.
    fn scan(&self) -> io::Result<Vec<Entry>> {
        let mut found = Vec::new();
        for entry in std::fs::read_dir(&self.directory)? {
            let entry = entry?;
            let name = entry.file_name().to_string_lossy().into_owned();
            let (sha256, whole) = match (name.strip_suffix(WHOLE), name.strip_suffix(PART)) {
                (Some(sha256), _) => (sha256, true),
                (_, Some(sha256)) => (sha256, false),
                _ => continue,
            };
            if check_hash(sha256).is_err() {
                continue;
            }
            let metadata = match entry.metadata() {
                // Another process was faster.
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                other => other?,
            };
            let changed = metadata.modified().unwrap_or(SystemTime::UNIX_EPOCH);
            let last_used = self.locks.last_used(sha256).unwrap_or(changed);
            // A transfer under way has holes.
            let size = if whole { metadata.len() } else { metadata.len().min(metadata.blocks() * 512) };
            found.push(Entry { sha256: sha256.to_owned(), size, last_used, whole });
        }
        Ok(found)
    }

    fn path(&self, sha256: &str, suffix: &str) -> PathBuf {
        self.directory.join(format!("{sha256}{suffix}"))
    }

    fn unusable(&self, source: io::Error) -> CacheError {
        CacheError::Directory { path: self.directory.clone(), source }
    }
}

fn check_hash(sha256: &str) -> Result<(), CacheError> {
    let good = sha256.len() == 64 && sha256.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
    if good { Ok(()) } else { Err(CacheError::BadHash { sha256: sha256.chars().take(80).collect() }) }
}
