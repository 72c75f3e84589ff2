//! From an origin into the working directory, with the hash that was asked for.

use std::io::{Seek, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use easel_protocol::import::{ImportPhase, ImportTask};
use futures::StreamExt;
use sha2::{Digest, Sha256};
use tokio::time::{sleep, timeout};
use url::Url;

use super::check::{check_type, is_weights};
use super::content::{Piece, foreign_format, inspect};
use super::error::ImportError;
use super::origins::{CopyBounds, ResolvedFile, ResolvedPlace, copy};
use super::progress::Meter;
use crate::backoff::Backoff;
use crate::error::chain;
use crate::fetch::{
    FetchError, FetchPolicy, GuardedSource, PartFile, PlainSource, Progress, Received, Receiver, Source,
    Span, fetch, fetch_file,
};
use crate::net::GuardedClient;

/// Enough for the headers of most files in one read.
const FIRST_READ: usize = 1 << 20;
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
    pub(super) connections: usize,
    pub(super) part_bytes: u64,
}

/// A file that was fetched.
pub(super) struct Fetched {
    pub(super) piece: Piece,
    /// The piece's bytes are in the object store already, under this key, and of weights only the header is here.
    pub(super) key: Option<String>,
    part: PartFile,
}

impl Fetched {
    /// Removes what the working directory has of it: the next file may need its room.
    pub(super) async fn clean_up(&self) -> Result<(), ImportError> {
        let removed = self.part.remove().await;
        removed.map_err(|source| ImportError::Fetch { file: self.piece.name.clone(), source })
    }
}

/// What a look at the first bytes of a stored file says.
enum Peeked {
    /// The header of safetensors, and the file's size.
    Header { bytes: Vec<u8>, size: u64 },
    /// Something that has to be rewritten or unpacked.
    Foreign,
}

impl Fetcher {
    /// Fetches one file: the `index`-th of the import. `alone`: it says by itself what it is.
    pub(super) async fn fetch(
        &self,
        task: &ImportTask,
        file: &ResolvedFile,
        index: usize,
        alone: bool,
        meter: &Meter,
    ) -> Result<Fetched, ImportError> {
        let (policy, part) = self.prepared(task, file, index);
        let fetched = match &file.place {
            ResolvedPlace::Stored { key, url } => {
                let source = PlainSource { http: self.plain.clone(), url: url.clone() };
                self.stored(task, file, &source, policy, key, part, alone, meter).await?
            }
            ResolvedPlace::Remote { url, secrets } => {
                let (client, secrets) = (self.guarded.clone(), secrets.clone());
                let source = GuardedSource { client, url: url.clone(), secrets };
                let received = self.to_disk(&source, policy, &part, meter).await;
                let failed = |source| ImportError::Fetch { file: file.name.clone(), source };
                arrived(file, received.map_err(failed)?, part).await?
            }
            ResolvedPlace::Volume { path: from } => {
                let copied = self.copied(task, from, &part, meter).await?;
                arrived(file, copied, part).await?
            }
        };
        meter.file_done(fetched.piece.received.as_ref().map_or(0, |received| received.size_bytes));
        Ok(fetched)
    }

    /// The same, and what is in the object store comes to the working directory too.
    pub(super) async fn fetch_to_disk(
        &self,
        task: &ImportTask,
        file: &ResolvedFile,
        index: usize,
        meter: &Meter,
    ) -> Result<Fetched, ImportError> {
        let ResolvedPlace::Stored { url, .. } = &file.place else {
            return self.fetch(task, file, index, false, meter).await;
        };
        let (policy, part) = self.prepared(task, file, index);
        let source = PlainSource { http: self.plain.clone(), url: url.clone() };
        let received = self.to_disk(&source, policy, &part, meter).await;
        let received =
            received.map_err(|source| ImportError::ReadStored { file: file.name.clone(), source })?;
        meter.file_done(received.size_bytes);
        arrived(file, received, part).await
    }

    fn prepared(&self, task: &ImportTask, file: &ResolvedFile, index: usize) -> (FetchPolicy, PartFile) {
        let policy = FetchPolicy {
            stall: self.stall,
            fruitless_retries: self.retries,
            expected_bytes: file.size_bytes,
            hash_known: file.sha256.is_some(),
            connections: self.connections,
            part_bytes: self.part_bytes,
            ..FetchPolicy::new(task.max_bytes)
        };
        // A number as name: what the user called the file stays out of paths.
        let path = self.work_dir.join(format!("import-{index}.part"));
        (policy, PartFile::new(path, identity(task, file)))
    }

    /// Weights that are safetensors, and side files, stay where they are. The header is read first, so that a hostile
    /// file is not read to its end.
    #[allow(clippy::too_many_arguments, reason = "one call, from the function above")]
    async fn stored(
        &self,
        task: &ImportTask,
        file: &ResolvedFile,
        source: &PlainSource,
        policy: FetchPolicy,
        key: &str,
        part: PartFile,
        alone: bool,
        meter: &Meter,
    ) -> Result<Fetched, ImportError> {
        let failed = |source| ImportError::ReadStored { file: file.name.clone(), source };
        let peeked = match is_weights(&file.name) {
            true => Some(self.peek_with_retries(&file.name, source).await?),
            false => None,
        };
        let Some(Peeked::Header { bytes, size }) = peeked else {
            let received = self.to_disk(source, policy, &part, meter).await.map_err(failed)?;
            let key = peeked.is_none().then(|| key.to_owned());
            return Ok(Fetched { key, ..arrived(file, received, part).await? });
        };
        part.forget().await.map_err(failed)?;
        write_header(part.path(), &bytes, size)
            .map_err(|source| ImportError::WorkDirectory { file: file.name.clone(), source })?;
        let piece = Piece { name: file.name.clone(), path: part.path().to_owned(), received: None };
        if alone {
            check_type(&file.name, &task.model_type, &inspect(&piece).await?)?;
        }
        let mut receiver = Receiver::hash_only();
        // It is where it is to be: its bytes are read for their hash.
        let mut on_progress =
            |Progress { received, total }| meter.step(ImportPhase::Checking, received, total);
        fetch(source, &mut receiver, &policy, &mut on_progress).await.map_err(failed)?;
        let received = receiver.finish().await.map_err(failed)?;
        Ok(Fetched { key: Some(key.to_owned()), ..arrived(file, received, part).await? })
    }

    async fn to_disk(
        &self,
        source: &impl Source,
        policy: FetchPolicy,
        part: &PartFile,
        meter: &Meter,
    ) -> Result<Received, FetchError> {
        let policy = FetchPolicy { room: Some(self.work_dir.clone()), ..policy };
        fetch_file(source, part, &policy, &mut |progress| meter.fetching(progress)).await
    }

    /// A copy of a file on the volume: the file itself may change while it is read.
    async fn copied(
        &self,
        task: &ImportTask,
        from: &Path,
        part: &PartFile,
        meter: &Meter,
    ) -> Result<Received, ImportError> {
        let failed = |source| ImportError::Fetch { file: from.display().to_string(), source };
        part.forget().await.map_err(failed)?;
        let mut receiver = Receiver::empty_file(part.path()).await.map_err(failed)?;
        let mut on_progress = |progress| meter.fetching(progress);
        let bounds = CopyBounds { max_bytes: task.max_bytes, room: &self.work_dir };
        copy(&self.volume_dir, from, &mut receiver, &bounds, &mut on_progress).await?;
        receiver.finish().await.map_err(failed)
    }

    async fn peek_with_retries(&self, file: &str, source: &impl Source) -> Result<Peeked, ImportError> {
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
    async fn peek(&self, file: &str, source: &impl Source) -> Result<Peeked, ImportError> {
        let inspect_failed = |error| ImportError::Inspect { file: file.to_owned(), source: Box::new(error) };
        let read_failed = |source| ImportError::ReadStored { file: file.to_owned(), source };
        let stalled = |received| FetchError::Stalled { url: source.name(), silence: self.stall, received };
        let opened = timeout(self.stall, source.open(Span::after(0), None)).await;
        let mut opened = opened.map_err(|_| read_failed(stalled(0)))?.map_err(read_failed)?;
        let unknown_size = || read_failed(FetchError::WrongRange { url: source.name(), asked: 0 });
        let size = opened.total.ok_or_else(unknown_size)?;
        let mut bytes: Vec<u8> = Vec::new();
        let mut need = FIRST_READ.min(usize::try_from(size).unwrap_or(FIRST_READ));
        loop {
            while bytes.len() < need {
                let (url, received) = (source.name(), bytes.len() as u64);
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
                bytes.extend_from_slice(&chunk);
            }
            if foreign_format(&bytes, size).is_some() {
                return Ok(Peeked::Foreign);
            }
            // Bounded by the engine's limit for headers, so it fits into memory.
            let header = easel_diffusion::header_len(&bytes, size).map_err(inspect_failed)?;
            need = usize::try_from(header).unwrap_or(usize::MAX);
            if bytes.len() >= need {
                bytes.truncate(need);
                return Ok(Peeked::Header { bytes, size });
            }
        }
    }
}

/// A file of `size` bytes of which the first ones are there and the others are a hole.
fn write_header(path: &Path, first: &[u8], size: u64) -> std::io::Result<()> {
    let mut file = std::fs::File::create(path)?;
    file.write_all(first)?;
    file.rewind()?;
    file.set_len(size)
}

/// A file whose bytes were all read. One with a wrong hash is not kept for another try.
async fn arrived(file: &ResolvedFile, received: Received, part: PartFile) -> Result<Fetched, ImportError> {
    match &file.sha256 {
        Some(expected) if !expected.eq_ignore_ascii_case(&received.sha256) => {
            let removed = part.remove().await;
            removed.map_err(|source| ImportError::Fetch { file: file.name.clone(), source })?;
            Err(ImportError::Checksum {
                file: file.name.clone(),
                expected: expected.clone(),
                actual: received.sha256,
            })
        }
        _ => {
            let path = part.path().to_owned();
            let piece = Piece { name: file.name.clone(), path, received: Some(received) };
            Ok(Fetched { piece, key: None, part })
        }
    }
}

/// What tells this file from others that an earlier pod may have left halfway. Hashed, since an
/// address may carry secrets; without the query, which differs each time that an address is signed.
pub(super) fn identity(task: &ImportTask, file: &ResolvedFile) -> String {
    let bare = |url: &Url| {
        let mut url = url.clone();
        url.set_query(None);
        url.to_string()
    };
    let place = match &file.place {
        ResolvedPlace::Stored { key, .. } => key.clone(),
        ResolvedPlace::Remote { url, .. } => bare(url),
        ResolvedPlace::Volume { path } => path.display().to_string(),
    };
    let sha256 = file.sha256.as_deref().unwrap_or_default();
    hex::encode(Sha256::digest([task.model.as_str(), &file.name, &place, sha256].join("\n")))
}
