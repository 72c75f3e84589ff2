//! Pictures on their way out: encoded, hashed, and put to the presigned addresses.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use easel_diffusion::Picture;
use easel_protocol::FailureReport;
use easel_protocol::worker::{ImageFormat, OutputDone, OutputSlot};
use futures::{StreamExt, TryStreamExt, stream};
use http::header::{CONTENT_LENGTH, CONTENT_TYPE};
use sha2::{Digest, Sha256};
use tokio::time::sleep;

use crate::backoff::Backoff;

/// Puts at the same time: one hides the other's round trip; more only compete for the line.
const CONCURRENT_PUTS: usize = 4;
/// Tries per picture. With the delays between them about half a minute, which a restarting store needs.
const TRIES: u32 = 7;
const PUT_TIMEOUT: Duration = Duration::from_secs(60);
/// What A1111 saves with.
pub(crate) const JPEG_QUALITY: u8 = 95;

#[derive(Debug, thiserror::Error)]
pub(super) enum OutputError {
    #[error("output {name} asks for picture {picture}, the job made {made}")]
    NoSuchPicture { name: String, picture: u32, made: usize },
    #[error("cannot encode {name}")]
    Encode { name: String, reason: &'static str, source: easel_diffusion::EncodeError },
    #[error("cannot encode {name}: the encoder stopped")]
    EncoderPanicked { name: String, source: tokio::task::JoinError },
    #[error("cannot store {name}: no answer from the object store")]
    Unreachable { name: String, source: reqwest::Error },
    #[error("cannot store {name}: the object store answered {status}")]
    Refused { name: String, status: http::StatusCode },
}

impl OutputError {
    pub(super) fn report(&self) -> FailureReport {
        let (reason, retriable) = match self {
            Self::NoSuchPicture { .. } => ("OutputMismatch", false),
            Self::Encode { reason, .. } => (*reason, false),
            Self::EncoderPanicked { .. } => ("EncoderPanicked", false),
            // Also a 403: the next attempt gets fresh addresses.
            Self::Unreachable { .. } | Self::Refused { .. } => ("OutputUploadFailed", true),
        };
        FailureReport::new(reason, crate::error::chain(self), retriable)
    }
}

/// Encodes and stores every output; `on_stored` is told the count so far.
pub(super) async fn store_all(
    http: &reqwest::Client,
    pictures: Arc<Vec<Picture>>,
    slots: &[OutputSlot],
    on_stored: impl Fn(u64),
) -> Result<Vec<OutputDone>, OutputError> {
    let puts: Vec<_> = slots.iter().map(|slot| store_one(http, pictures.clone(), slot)).collect();
    let mut puts = stream::iter(puts).buffered(CONCURRENT_PUTS);
    let mut stored = Vec::with_capacity(slots.len());
    while let Some(done) = puts.try_next().await? {
        stored.push(done);
        on_stored(stored.len() as u64);
    }
    Ok(stored)
}

async fn store_one(
    http: &reqwest::Client,
    pictures: Arc<Vec<Picture>>,
    slot: &OutputSlot,
) -> Result<OutputDone, OutputError> {
    let name = slot.name.clone();
    let index = slot.picture as usize;
    if index >= pictures.len() {
        return Err(OutputError::NoSuchPicture { name, picture: slot.picture, made: pictures.len() });
    }
    let format = slot.format;
    let encoded = tokio::task::spawn_blocking(move || encode(&pictures[index], format)).await;
    let bytes = encoded
        .map_err(|source| OutputError::EncoderPanicked { name: name.clone(), source })?
        .map_err(|source| OutputError::Encode { name: name.clone(), reason: source.reason(), source })?;
    let done =
        OutputDone { name, sha256: hex::encode(Sha256::digest(&bytes)), size_bytes: bytes.len() as u64 };
    put_with_retries(http, slot, bytes.into()).await?;
    Ok(done)
}

/// The bytes of a picture as a file; a PNG carries its infotext.
pub(crate) fn encode(
    picture: &Picture,
    format: ImageFormat,
) -> Result<Vec<u8>, easel_diffusion::EncodeError> {
    match format {
        ImageFormat::Png => easel_diffusion::png::encode(picture),
        ImageFormat::Jpeg => easel_diffusion::jpeg::encode(picture, JPEG_QUALITY),
    }
}

async fn put_with_retries(
    http: &reqwest::Client,
    slot: &OutputSlot,
    bytes: Bytes,
) -> Result<(), OutputError> {
    let mut backoff = Backoff::new(Duration::from_millis(250), Duration::from_secs(10));
    loop {
        let error = match put(http, slot, bytes.clone()).await {
            Ok(()) => return Ok(()),
            Err(error) => error,
        };
        let passing = match &error {
            OutputError::Unreachable { .. } => true,
            OutputError::Refused { status, .. } => {
                status.is_server_error() || matches!(status.as_u16(), 408 | 429)
            }
            _ => false,
        };
        if !passing || backoff.tries() + 1 >= TRIES {
            return Err(error);
        }
        tracing::warn!(output = slot.name, error = %crate::error::chain(&error), "an upload failed; trying again");
        sleep(backoff.next_delay()).await;
    }
}

async fn put(http: &reqwest::Client, slot: &OutputSlot, bytes: Bytes) -> Result<(), OutputError> {
    let request = http
        .put(&slot.url)
        .header(CONTENT_TYPE, slot.format.content_type())
        .header(CONTENT_LENGTH, bytes.len())
        .timeout(PUT_TIMEOUT)
        .body(bytes);
    let sent = request.send().await;
    let response = sent
        .map_err(|error| OutputError::Unreachable { name: slot.name.clone(), source: error.without_url() })?;
    match response.status() {
        status if status.is_success() => Ok(()),
        status => Err(OutputError::Refused { name: slot.name.clone(), status }),
    }
}
