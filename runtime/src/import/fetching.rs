//! From an origin to a hash and an inspected header.

use std::io::Read;
use std::path::{Path, PathBuf};
use std::time::Duration;

use easel_diffusion::Inspection;
use easel_protocol::import::ImportTask;
use futures::StreamExt;
use tokio::time::{sleep, timeout};

use super::check::{check_type, is_weights};
use super::error::ImportError;
use super::origins::{CopyBounds, ResolvedFile, ResolvedPlace, copy};
use super::progress::Meter;
use crate::backoff::Backoff;
use crate::error::chain;
use crate::fetch::{FetchError, FetchPolicy, GuardedSource, PlainSource, Received, Receiver, Source, fetch};
use crate::net::GuardedClient;

/// Enough for the headers of most files in one read.
const FIRST_READ: usize = 1 << 20;
/// Tells safetensors from everything else.
const FIRST_BYTES: u64 = 64;
/// Tries to read a header before the Job's own retry takes over.
const PEEK_TRIES: u32 = 4;

/// The two clients and the place to work in.
pub(super) struct Fetcher {
    pub(super) plain: reqwest::Client,
    pub(super) guarded: GuardedClient,
    pub(super) work_dir: PathBuf,
    pub(super) volume_dir: PathBuf,
    pub(super) stall: Duration,
    pub(super) retries: u32,
}

/// A file that was fetched.
pub(super) struct Fetched {
    pub(super) received: Received,
    /// `None` for a side file.
    pub(super) inspection: Option<Inspection>,
    pub(super) place: Place,
}

/// Where the bytes are now.
pub(super) enum Place {
    /// In the object store, under this key.
    Stored { key: String },
    /// In the working directory.
    Disk { path: PathBuf },
}

impl Fetcher {
    /// Fetches one file: the `index`-th of the import.
    pub(super) async fn fetch(
        &self,
        task: &ImportTask,
        file: &ResolvedFile,
        index: usize,
        meter: &Meter,
    ) -> Result<Fetched, ImportError> {
        let policy = FetchPolicy {
            stall: self.stall,
            fruitless_retries: self.retries,
            expected_bytes: file.size_bytes,
            ..FetchPolicy::new(task.max_bytes)
        };
        // A number as name: what the user called the file stays out of paths.
        let path = self.work_dir.join(format!("import-{index}.part"));
        let fetched = match &file.place {
            ResolvedPlace::Stored { key, url } => {
                let source = PlainSource { http: self.plain.clone(), url: url.clone() };
                self.stored(task, file, &source, policy, key, meter).await?
            }
            ResolvedPlace::Remote { url, secrets } => {
                let (client, secrets) = (self.guarded.clone(), secrets.clone());
                let source = GuardedSource { client, url: url.clone(), secrets };
                self.named_by_user(task, file, &source, policy, path, meter).await?
            }
            ResolvedPlace::Volume { path: from } => {
                let copied = self.copied(task, from, &path, meter).await;
                self.arrived(task, file, copied?, path).await?
            }
        };
        meter.file_done(fetched.received.size_bytes);
        Ok(fetched)
    }

    /// The bytes stay where they are: the header is read first, so that a hostile file is not read to its end.
    async fn stored(
        &self,
        task: &ImportTask,
        file: &ResolvedFile,
        source: &PlainSource,
        policy: FetchPolicy,
        key: &str,
        meter: &Meter,
    ) -> Result<Fetched, ImportError> {
        let mut inspection = None;
        if is_weights(&file.name) {
            let seen = self.peek_with_retries(&file.name, source).await?;
            check_type(&file.name, &task.model_type, &seen)?;
            inspection = Some(seen);
        }
        let received = receive(source, Receiver::hash_only(), &policy, meter).await;
        let received =
            received.map_err(|source| ImportError::ReadStored { file: file.name.clone(), source })?;
        check_hash(file, &received)?;
        Ok(Fetched { received, inspection, place: Place::Stored { key: key.to_owned() } })
    }

    async fn named_by_user(
        &self,
        task: &ImportTask,
        file: &ResolvedFile,
        source: &GuardedSource,
        policy: FetchPolicy,
        path: PathBuf,
        meter: &Meter,
    ) -> Result<Fetched, ImportError> {
        let policy =
            FetchPolicy { room: Some(self.work_dir.clone()), hash_known: file.sha256.is_some(), ..policy };
        let fetched = async { receive(source, empty_file(&path).await?, &policy, meter).await };
        let received =
            fetched.await.map_err(|source| ImportError::Fetch { file: file.name.clone(), source })?;
        self.arrived(task, file, received, path).await
    }

    /// A copy of a file on the volume: the file itself may change while it is read.
    async fn copied(
        &self,
        task: &ImportTask,
        from: &Path,
        path: &Path,
        meter: &Meter,
    ) -> Result<Received, ImportError> {
        let failed = |source| ImportError::Fetch { file: from.display().to_string(), source };
        let mut receiver = empty_file(path).await.map_err(failed)?;
        let mut on_progress = |progress| meter.update(progress);
        let bounds = CopyBounds { max_bytes: task.max_bytes, room: &self.work_dir };
        copy(&self.volume_dir, from, &mut receiver, &bounds, &mut on_progress).await?;
        receiver.finish().await.map_err(failed)
    }

    /// A file that is in the working directory now.
    async fn arrived(
        &self,
        task: &ImportTask,
        file: &ResolvedFile,
        received: Received,
        path: PathBuf,
    ) -> Result<Fetched, ImportError> {
        check_hash(file, &received)?;
        let mut inspection = None;
        if is_weights(&file.name) {
            let seen = inspect_file(&file.name, &path).await?;
            check_type(&file.name, &task.model_type, &seen)?;
            inspection = Some(seen);
        }
        Ok(Fetched { received, inspection, place: Place::Disk { path } })
    }

    async fn peek_with_retries(&self, file: &str, source: &impl Source) -> Result<Inspection, ImportError> {
        let mut backoff = Backoff::new(Duration::from_millis(250), Duration::from_secs(5));
        loop {
            match self.peek(file, source).await {
                Err(error) if error.retriable() && backoff.tries() + 1 < PEEK_TRIES => {
                    tracing::warn!(file, error = %chain(&error), "cannot read the header; trying again");
                    sleep(backoff.next_delay()).await;
                }
                other => return other,
            }
        }
    }

    /// Reads just the header of a file in the object store.
    async fn peek(&self, file: &str, source: &impl Source) -> Result<Inspection, ImportError> {
        let inspect_failed = |error| ImportError::Inspect { file: file.to_owned(), source: Box::new(error) };
        let read_failed = |source| ImportError::ReadStored { file: file.to_owned(), source };
        let stalled = |received| FetchError::Stalled { url: source.name(), silence: self.stall, received };
        let opened = timeout(self.stall, source.open(0, None)).await.map_err(|_| read_failed(stalled(0)))?;
        let mut opened = opened.map_err(read_failed)?;
        let unknown_size = || read_failed(FetchError::WrongRange { url: source.name(), asked: 0 });
        let size = opened.total.ok_or_else(unknown_size)?;
        let mut prefix: Vec<u8> = Vec::new();
        let mut need = FIRST_READ.min(usize::try_from(size).unwrap_or(FIRST_READ));
        loop {
            while prefix.len() < need {
                let (url, received) = (source.name(), prefix.len() as u64);
                let next = timeout(self.stall, opened.body.next()).await;
                let chunk = match next.map_err(|_| read_failed(stalled(received)))? {
                    Some(Ok(chunk)) => chunk,
                    Some(Err(error)) => {
                        let source = error.without_url();
                        return Err(read_failed(FetchError::Broken { url, received, source }));
                    }
                    None => {
                        return Err(read_failed(FetchError::Truncated { url, received, expected: size }));
                    }
                };
                prefix.extend_from_slice(&chunk);
            }
            // Bounded by the engine's limit for headers, so it fits into memory.
            let header = easel_diffusion::header_len(&prefix, size).map_err(inspect_failed)?;
            need = usize::try_from(header).unwrap_or(usize::MAX);
            if prefix.len() >= need {
                return easel_diffusion::inspect_header(&prefix, size).map_err(inspect_failed);
            }
        }
    }
}

async fn receive(
    source: &impl Source,
    mut receiver: Receiver,
    policy: &FetchPolicy,
    meter: &Meter,
) -> Result<Received, FetchError> {
    fetch(source, &mut receiver, policy, &mut |progress| meter.update(progress)).await?;
    receiver.finish().await
}

/// A receiver that writes to `path`, of which nothing is kept: what is there may be another version of the file.
async fn empty_file(path: &Path) -> Result<Receiver, FetchError> {
    let mut receiver = Receiver::resume_file(path).await?;
    receiver.restart().await?;
    Ok(receiver)
}

async fn inspect_file(file: &str, path: &Path) -> Result<Inspection, ImportError> {
    let path = path.to_owned();
    let inspected = tokio::task::spawn_blocking(move || inspect_safetensors(&path)).await;
    inspected
        .map_err(|source| ImportError::InspectorPanicked { file: file.to_owned(), source })?
        .map_err(|error| ImportError::Inspect { file: file.to_owned(), source: Box::new(error) })
}

/// The engine reads pickles too, but an endpoint's models are safetensors, whatever they came from: a fetched
/// file is held to what a stored one is held to.
fn inspect_safetensors(path: &Path) -> Result<Inspection, easel_diffusion::InspectError> {
    let mut prefix = Vec::new();
    let opened = std::fs::File::open(path).and_then(|file| {
        let size = file.metadata()?.len();
        file.take(FIRST_BYTES).read_to_end(&mut prefix)?;
        Ok(size)
    });
    // What cannot be read is told by the inspection itself.
    if let Ok(size) = opened {
        easel_diffusion::header_len(&prefix, size)?;
    }
    easel_diffusion::inspect(path)
}

fn check_hash(file: &ResolvedFile, received: &Received) -> Result<(), ImportError> {
    match &file.sha256 {
        Some(expected) if !expected.eq_ignore_ascii_case(&received.sha256) => Err(ImportError::Checksum {
            file: file.name.clone(),
            expected: expected.clone(),
            actual: received.sha256.clone(),
        }),
        _ => Ok(()),
    }
}
