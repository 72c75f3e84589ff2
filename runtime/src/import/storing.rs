//! From the working directory into the object store, in parts.

use std::io::SeekFrom;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use easel_protocol::import::{ImportPhase, PartDone, PartSlot, StoreDone, StorePlan, StoreRequest};
use futures::TryStreamExt;
use http::header::{CONTENT_LENGTH, ETAG};
use tokio::io::{AsyncReadExt, AsyncSeekExt};
use tokio::time::sleep;
use tokio_util::io::ReaderStream;

use super::error::ImportError;
use super::progress::Meter;
use super::retry::Patience;
use crate::backoff::Backoff;
use crate::error::chain;
use crate::facade::{CallError, Facade};
use crate::fetch::Received;

/// Tries per part within one plan.
const PART_TRIES: u32 = 5;
/// Plans per file: addresses of a plan run out, and an upload may be aborted at the other end.
const PLANS: u32 = 2;
/// A part of 64 MiB at 0.2 MB/s.
const PART_TIMEOUT: Duration = Duration::from_secs(330);

/// A file on its way into the object store.
pub(super) struct Storing<'a> {
    pub(super) facade: &'a Facade,
    pub(super) http: &'a reqwest::Client,
    pub(super) meter: &'a Arc<Meter>,
    /// With the facade.
    pub(super) patience: Patience,
    /// Its name, for messages.
    pub(super) file: &'a str,
    pub(super) path: &'a Path,
    pub(super) received: &'a Received,
}

impl Storing<'_> {
    /// Puts the bytes into the object store, unless they are there already. Returns the key.
    pub(super) async fn run(&self) -> Result<String, ImportError> {
        let Self { facade, patience, received, .. } = *self;
        let request = StoreRequest { sha256: received.sha256.clone(), size_bytes: received.size_bytes };
        let facade_failed = |source| ImportError::Facade { source };
        let mut plans = 1;
        loop {
            let plan = patience.repeat(|| facade.store_import(&request), CallError::retriable).await;
            let plan = plan.map_err(facade_failed)?;
            if plan.parts.is_empty() {
                return Ok(plan.key);
            }
            match self.send_parts(&plan).await {
                Ok(parts) => {
                    let done = StoreDone {
                        key: plan.key.clone(),
                        upload_id: plan.upload_id.clone(),
                        size_bytes: received.size_bytes,
                        parts,
                    };
                    let completed =
                        patience.repeat(|| facade.complete_import(&done), CallError::retriable).await;
                    return completed.map(|()| plan.key).map_err(facade_failed);
                }
                Err(error) if error.retriable() && plans < PLANS => {
                    tracing::warn!(
                        file = self.file,
                        error = %chain(&error),
                        "cannot store the file; asking for a new plan"
                    );
                    plans += 1;
                }
                Err(error) => return Err(error),
            }
        }
    }

    async fn send_parts(&self, plan: &StorePlan) -> Result<Vec<PartDone>, ImportError> {
        let size_bytes = self.received.size_bytes;
        let covered = plan.part_size.saturating_mul(plan.parts.len() as u64);
        let before_last = plan.part_size.saturating_mul(plan.parts.len() as u64 - 1);
        if covered < size_bytes || (before_last >= size_bytes && size_bytes > 0) {
            return Err(ImportError::BadPlan {
                file: self.file.to_owned(),
                parts: plan.parts.len(),
                part_size: plan.part_size,
                size_bytes,
            });
        }
        let mut done = Vec::with_capacity(plan.parts.len());
        let mut offset = 0;
        for slot in &plan.parts {
            let length = plan.part_size.min(size_bytes - offset);
            done.push(Part { whole: self, offset, length, slot }.send_with_retries().await?);
            offset += length;
        }
        Ok(done)
    }
}

/// One part of a file on its way.
struct Part<'a> {
    whole: &'a Storing<'a>,
    offset: u64,
    length: u64,
    slot: &'a PartSlot,
}

impl Part<'_> {
    async fn send_with_retries(&self) -> Result<PartDone, ImportError> {
        let mut backoff = Backoff::new(Duration::from_millis(250), Duration::from_secs(10));
        loop {
            let error = match self.send().await {
                Ok(done) => return Ok(done),
                Err(error) => error,
            };
            // A 4xx means that this address is not good any more; a new plan brings another.
            let refused =
                matches!(&error, ImportError::SendRefused { status, .. } if status.is_client_error());
            if refused || !error.retriable() || backoff.tries() + 1 >= PART_TRIES {
                return Err(error);
            }
            tracing::warn!(part = self.slot.part_number, error = %chain(&error), "a part failed; trying again");
            sleep(backoff.next_delay()).await;
        }
    }

    async fn send(&self) -> Result<PartDone, ImportError> {
        let (file, part) = (self.whole.file.to_owned(), self.slot.part_number);
        let unusable = |source| ImportError::WorkDirectory { file: self.whole.file.to_owned(), source };
        let mut content = tokio::fs::File::open(self.whole.path).await.map_err(unusable)?;
        content.seek(SeekFrom::Start(self.offset)).await.map_err(unusable)?;
        let (meter, total) = (Arc::clone(self.whole.meter), self.whole.received.size_bytes);
        let mut sent = self.offset;
        let body = ReaderStream::with_capacity(content.take(self.length), 256 << 10);
        let body = body.inspect_ok(move |chunk| {
            sent += chunk.len() as u64;
            meter.step(ImportPhase::Storing, sent, Some(total));
        });
        let request = self
            .whole
            .http
            .put(&self.slot.url)
            // A stream has no length of its own, and S3 takes no chunked bodies.
            .header(CONTENT_LENGTH, self.length)
            .timeout(PART_TIMEOUT)
            .body(reqwest::Body::wrap_stream(body));
        let sent = request.send().await;
        let response = sent.map_err(|error| ImportError::Send {
            file: file.clone(),
            part,
            source: error.without_url(),
        })?;
        let status = response.status();
        if !status.is_success() {
            return Err(ImportError::SendRefused { file, part, status });
        }
        let etag = response.headers().get(ETAG).and_then(|etag| etag.to_str().ok()).map(str::to_owned);
        let etag = etag.ok_or(ImportError::NoEtag { file, part })?;
        Ok(PartDone { part_number: part, etag })
    }
}
