//! A file in parts, several at a time.

use std::io::SeekFrom;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use easel_protocol::import::{PartDone, PartSlot, StorePlan};
use futures::stream;
use futures::{StreamExt, TryStreamExt};
use http::header::{CONTENT_LENGTH, ETAG};
use tokio::io::{AsyncReadExt, AsyncSeekExt};
use tokio_util::io::ReaderStream;

use super::error::UploadError;
use super::put::{answered, with_retries};

/// Parts under way: one hides the other's round trip; more only compete for the line.
const CONCURRENT_PARTS: usize = 4;
/// A part of 64 MiB at 0.2 MB/s.
const PART_TIMEOUT: Duration = Duration::from_secs(330);

/// A file, or its first bytes, and where they go.
pub struct Parts<'a> {
    pub http: &'a reqwest::Client,
    /// Its name, for messages.
    pub file: &'a str,
    pub path: &'a Path,
    /// What is sent of it, from its start.
    pub size_bytes: u64,
    pub plan: &'a StorePlan,
}

impl Parts<'_> {
    /// Sends every part of the plan; nothing for a plan without parts. `tell` hears how many bytes have arrived.
    ///
    /// # Errors
    /// The plan does not fit the file, the file cannot be read, or a part failed for good.
    pub async fn send(&self, tell: &(dyn Fn(u64) + Sync)) -> Result<Vec<PartDone>, UploadError> {
        self.check()?;
        let sent = AtomicU64::new(0);
        let mut sends = Vec::with_capacity(self.plan.parts.len());
        let mut offset = 0;
        for slot in &self.plan.parts {
            let length = self.plan.part_size.min(self.size_bytes - offset);
            let part = self.part(slot, offset, length);
            let sent = &sent;
            sends.push(async move {
                let done = part.await?;
                tell(sent.fetch_add(length, Ordering::Relaxed) + length);
                Ok(done)
            });
            offset += length;
        }
        stream::iter(sends).buffered(CONCURRENT_PARTS).try_collect().await
    }

    fn check(&self) -> Result<(), UploadError> {
        let StorePlan { parts, part_size, .. } = self.plan;
        let up_to = |count: usize| part_size.saturating_mul(count as u64);
        let too_many = up_to(parts.len().saturating_sub(1)) >= self.size_bytes && parts.len() > 1;
        if parts.is_empty() || (up_to(parts.len()) >= self.size_bytes && !too_many) {
            return Ok(());
        }
        let (file, parts) = (self.file.to_owned(), parts.len());
        Err(UploadError::BadPlan { file, parts, part_size: *part_size, size_bytes: self.size_bytes })
    }

    async fn part(&self, slot: &PartSlot, offset: u64, length: u64) -> Result<PartDone, UploadError> {
        let what = format!("part {} of {}", slot.part_number, self.file);
        with_retries(async || self.send_part(slot, offset, length, &what).await).await
    }

    async fn send_part(
        &self,
        slot: &PartSlot,
        offset: u64,
        length: u64,
        what: &str,
    ) -> Result<PartDone, UploadError> {
        let unreadable = |source| UploadError::Read { what: what.to_owned(), source };
        let mut content = tokio::fs::File::open(self.path).await.map_err(unreadable)?;
        content.seek(SeekFrom::Start(offset)).await.map_err(unreadable)?;
        let body = ReaderStream::with_capacity(content.take(length), 256 << 10);
        let request = self
            .http
            .put(&slot.url)
            // A stream has no length of its own, and S3 takes no chunked bodies.
            .header(CONTENT_LENGTH, length)
            .timeout(PART_TIMEOUT)
            .body(reqwest::Body::wrap_stream(body));
        let response = answered(request, what).await?;
        let etag = response.headers().get(ETAG).and_then(|etag| etag.to_str().ok()).map(str::to_owned);
        let etag = etag.ok_or_else(|| UploadError::NoEtag { what: what.to_owned() })?;
        Ok(PartDone { part_number: slot.part_number, etag })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plan_must_cover_the_file_and_no_more() {
        let http = reqwest::Client::new();
        for (parts, part_size, size_bytes, good) in [
            (0, 0, 9, true),
            (1, 4, 0, true),
            (1, 4, 4, true),
            (2, 4, 5, true),
            (1, 4, 5, false),
            (2, 4, 4, false),
            (3, u64::MAX, 5, false),
        ] {
            let slot = |part_number| PartSlot { part_number, url: String::new() };
            let plan = StorePlan {
                key: String::new(),
                parts: (1..=parts).map(slot).collect(),
                upload_id: String::new(),
                part_size,
            };
            let (path, plan) = (Path::new("f"), &plan);
            let parts = Parts { http: &http, file: "f", path, size_bytes, plan };
            assert_eq!(parts.check().is_ok(), good, "{parts:?}", parts = (plan, size_bytes));
        }
    }
}
