//! What can be said with the trait alone: a stream of unknown length into an object, and clearing up.

use bytes::{Bytes, BytesMut};
use futures::{Stream, StreamExt as _};
use jiff::Timestamp;

use super::{ObjectError, ObjectKey, ObjectMeta, ObjectStore, Part};

/// What is held in memory of a stream. S3 takes 10,000 parts, so this allows 80 GB; smaller would cut
/// checkpoints off, larger costs memory per upload.
const PART_BYTES: usize = 8 << 20;

/// A stream could not be stored. Nothing is left of it.
#[derive(Debug, thiserror::Error)]
pub enum PutStreamError<E: std::error::Error + 'static> {
    #[error("the sender of {key} broke off after {received} bytes")]
    Sender { key: String, received: u64, source: E },
    #[error("{key} is larger than {limit} bytes")]
    TooLarge { key: String, limit: u64 },
    #[error(transparent)]
    Store(#[from] ObjectError),
}

impl<E: std::error::Error + 'static> PutStreamError<E> {
    /// Does trying again make sense?
    pub fn retriable(&self) -> bool {
        match self {
            Self::Sender { .. } => true,
            Self::TooLarge { .. } => false,
            Self::Store(error) => error.retriable(),
        }
    }
}

/// Stores a stream, `max_bytes` at most. If the caller goes away in the middle, the upload is left to
/// [`abort_stale_uploads`].
pub async fn put_stream<S, E>(
    store: &dyn ObjectStore,
    key: &ObjectKey,
    body: S,
    content_type: &str,
    max_bytes: u64,
) -> Result<ObjectMeta, PutStreamError<E>>
where
    S: Stream<Item = Result<Bytes, E>> + Send,
    E: std::error::Error + Send + Sync + 'static,
{
    let mut body = Box::pin(body);
    let mut sender = Chunks { key, body: &mut body, rest: BytesMut::new(), received: 0, max_bytes };
    let first = sender.next_part().await?;
    if first.len() < PART_BYTES {
        let size = first.len() as u64;
        let meta = store.put(key, first, content_type).await?;
        return Ok(ObjectMeta { size, ..meta });
    }
    let upload = store.create_upload(key, content_type).await?;
    match send_parts(store, key, &upload, first, &mut sender).await {
        Ok(meta) => Ok(meta),
        Err(error) => {
            if let Err(abort) = store.abort_upload(key, &upload).await {
                tracing::warn!(key = %key, error = %abort, "an upload that failed could not be aborted");
            }
            Err(error)
        }
    }
}

async fn send_parts<S, E>(
    store: &dyn ObjectStore,
    key: &ObjectKey,
    upload: &str,
    first: Bytes,
    sender: &mut Chunks<'_, S>,
) -> Result<ObjectMeta, PutStreamError<E>>
where
    S: Stream<Item = Result<Bytes, E>> + Unpin + Send,
    E: std::error::Error + Send + Sync + 'static,
{
    let mut parts: Vec<Part> = Vec::new();
    let mut part = first;
    while !part.is_empty() {
        let number = u32::try_from(parts.len() + 1).unwrap_or(u32::MAX);
        parts.push(store.put_part(key, upload, number, part).await?);
        part = sender.next_part().await?;
    }
    let meta = store.complete_upload(key, upload, &parts).await?;
    Ok(ObjectMeta { size: sender.received, ..meta })
}

/// Cuts a stream into parts of one size; the last one is shorter.
struct Chunks<'a, S> {
    key: &'a ObjectKey,
    body: &'a mut S,
    rest: BytesMut,
    received: u64,
    max_bytes: u64,
}

impl<S, E> Chunks<'_, S>
where
    S: Stream<Item = Result<Bytes, E>> + Unpin,
    E: std::error::Error + 'static,
{
    /// Empty at the end.
    async fn next_part(&mut self) -> Result<Bytes, PutStreamError<E>> {
        while self.rest.len() < PART_BYTES {
            let Some(chunk) = self.body.next().await else { break };
            let (key, received) = (self.key.to_string(), self.received);
            let chunk = chunk.map_err(|source| PutStreamError::Sender { key, received, source })?;
            self.received += chunk.len() as u64;
            if self.received > self.max_bytes {
                let (key, limit) = (self.key.to_string(), self.max_bytes);
                return Err(PutStreamError::TooLarge { key, limit });
            }
            self.rest.extend_from_slice(&chunk);
        }
        let part = self.rest.len().min(PART_BYTES);
        Ok(self.rest.split_to(part).freeze())
    }
}

/// Aborts every upload that was begun before the given time and is still open; answers how many.
pub async fn abort_stale_uploads(store: &dyn ObjectStore, before: Timestamp) -> Result<usize, ObjectError> {
    let stale = store.stale_uploads(before).await?;
    for upload in &stale {
        store.abort_upload(&upload.key, &upload.upload_id).await?;
    }
    Ok(stale.len())
}
