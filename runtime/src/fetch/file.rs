//! A file that is fetched in parts where the server lets it, and continued by the next process.

use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::time::{sleep, timeout};

use super::error::FetchError;
use super::ledger::{self, Ledger, Version};
use super::ranged::Ranged;
use super::receiver::{Received, Receiver};
use super::source::{Opened, Source, Span};
use super::transfer::{FetchPolicy, Progress, check_size, fetch_from};

/// A file that changes more often than this while it is read is not one to wait for.
const MAX_RESTARTS: u32 = 3;

/// A file under way on the disk, with the record of its parts beside it.
#[derive(Debug, Clone)]
pub struct PartFile {
    path: PathBuf,
    identity: String,
}

impl PartFile {
    /// `identity` tells this file from others that were or will be kept at `path`. It carries no secrets: it is
    /// written to the disk.
    pub fn new(path: impl Into<PathBuf>, identity: impl Into<String>) -> Self {
        Self { path: path.into(), identity: identity.into() }
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Forgets what is known of the file; the file itself stays.
    ///
    /// # Errors
    /// [`FetchError::Write`].
    pub async fn forget(&self) -> Result<(), FetchError> {
        ledger::forget(&self.path).await.map_err(|source| self.unusable(source))
    }

    /// Removes the file and what is known of it.
    ///
    /// # Errors
    /// [`FetchError::Write`].
    pub async fn remove(&self) -> Result<(), FetchError> {
        self.forget().await?;
        match tokio::fs::remove_file(&self.path).await {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
            other => other.map_err(|source| self.unusable(source)),
        }
    }

    fn unusable(&self, source: std::io::Error) -> FetchError {
        FetchError::Write { path: self.path.clone(), source }
    }
}

/// Transfers the file of `source` to `part`. Where the server answers for parts, says the size, and there is
/// something to tell versions apart (a strong validator, or a hash known to the caller), several connections fetch
/// parts of the file, each synced and recorded when it is whole, and a later process fetches only the others.
/// Otherwise one connection fetches all of it, from the start after a kill.
///
/// When this returns, the bytes are synced; the record stays until [`PartFile::forget`], so that also a kill after
/// this costs no second transfer.
///
/// # Errors
/// As of [`super::fetch`]; [`FetchError::Changed`] when the file at the server became another one again and again.
pub async fn fetch_file(
    source: &impl Source,
    part: &PartFile,
    policy: &FetchPolicy,
    on_progress: &mut (dyn FnMut(Progress) + Send),
) -> Result<Received, FetchError> {
    let (mut in_parts, mut restarts) = (true, 0);
    loop {
        let error = match once(source, part, policy, in_parts, on_progress).await {
            Err(error @ FetchError::Changed { .. }) if restarts < MAX_RESTARTS => {
                restarts += 1;
                error
            }
            // A server whose ranges are wrong may still send the whole file right.
            Err(error @ FetchError::WrongRange { .. }) if in_parts => {
                in_parts = false;
                error
            }
            other => return other,
        };
        tracing::warn!(error = %crate::error::chain(&error), "the transfer starts anew");
        part.forget().await?;
        sleep(policy.backoff.clone().next_delay()).await;
    }
}

async fn once(
    source: &impl Source,
    part: &PartFile,
    policy: &FetchPolicy,
    in_parts: bool,
    on_progress: &mut (dyn FnMut(Progress) + Send),
) -> Result<Received, FetchError> {
    let unusable = |source| part.unusable(source);
    let known = Ledger::resume(&part.path, &part.identity, policy).await.map_err(unusable)?;
    if let Some(ledger) = known {
        tracing::info!(size_bytes = ledger.version.size, "a transfer of an earlier process is continued");
        return Ranged::new(source, &part.path, policy, ledger, on_progress).run(None).await;
    }
    part.forget().await?;
    let answer = first_answer(source, policy).await?;
    check_size(source, answer.total, 0, policy)?;
    if let Some(version) = version_of(&answer, part, policy).filter(|_| in_parts) {
        let ledger = Ledger::create(&part.path, version).await.map_err(unusable)?;
        return Ranged::new(source, &part.path, policy, ledger, on_progress).run(Some(answer)).await;
    }
    let mut receiver = Receiver::empty_file(&part.path).await?;
    fetch_from(source, &mut receiver, policy, Some(answer), on_progress).await?;
    receiver.finish().await
}

/// Asks for the whole file, as often as a transfer may be repeated.
async fn first_answer(source: &impl Source, policy: &FetchPolicy) -> Result<Opened, FetchError> {
    let mut backoff = policy.backoff.clone();
    loop {
        let silence: Duration = policy.stall;
        let opened = timeout(silence, source.open(Span::after(0), None)).await;
        let error = match opened {
            Ok(Ok(opened)) => return Ok(opened),
            Ok(Err(error)) => error,
            Err(_) => FetchError::Stalled { url: source.name(), silence, received: 0 },
        };
        if !error.in_transit() || backoff.tries() >= policy.fruitless_retries {
            return Err(error);
        }
        tracing::warn!(error = %crate::error::chain(&error), "the transfer does not begin; trying again");
        sleep(backoff.next_delay()).await;
    }
}

/// The version to record, if this file can be taken in parts and is worth it.
fn version_of(answer: &Opened, part: &PartFile, policy: &FetchPolicy) -> Option<Version> {
    let size = answer.total?;
    let told_apart = answer.validator.is_some() || policy.hash_known;
    let expected = policy.expected_bytes.is_none_or(|expected| expected == size);
    if !answer.ranges || !told_apart || !expected || size <= policy.part_bytes {
        return None;
    }
    Version::new(&part.identity, size, policy.part_bytes, answer.validator.as_ref())
}
