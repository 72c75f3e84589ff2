//! Bytes on their way from a pod into the object store, in parts: the steps that imports, results of training and
//! checkpoints share.

use easel_protocol::import::{PartSlot, StoreDone, StorePlan, StoreRequest};
use easel_store::jobs::Sha256;
use easel_store::objects::{Audience, ObjectError, ObjectKey, Part};

use super::error::WorkerError;
use super::models::URL_LIFE;
use crate::app::App;
use crate::collector::{self, HASH_FOLDER, hash_key};
use crate::parts;

const CONTENT_TYPE: &str = "application/octet-stream";

/// Where the bytes of a hash go; nowhere if they are there.
pub(super) async fn plan_by_hash(
    app: &App,
    StoreRequest { sha256, size_bytes }: StoreRequest,
) -> Result<StorePlan, WorkerError> {
    let hash: Sha256 =
        sha256.parse().map_err(|_| WorkerError::Input("sha256 is not 64 hex digits".into()))?;
    check_size(app, size_bytes)?;
    let key = hash_key(&hash);
    // Before it is looked for: what is found stays until the object's status names it.
    collector::claim(&*app.objects, &hash).await?;
    if app.objects.head(&key).await?.is_some_and(|meta| meta.size == size_bytes) {
        let (parts, upload_id) = (Vec::new(), String::new());
        return Ok(StorePlan { key: key.as_str().to_owned(), parts, upload_id, part_size: size_bytes });
    }
    plan(app, &key, size_bytes).await
}

/// # Errors
/// [`WorkerError::Input`] when it is nothing, or more than is taken.
pub(super) fn check_size(app: &App, size_bytes: u64) -> Result<(), WorkerError> {
    let most = app.config.max_upload_bytes;
    if size_bytes == 0 || size_bytes > most {
        return Err(WorkerError::Input(format!("sizeBytes is {size_bytes}; 1 to {most} are allowed")));
    }
    Ok(())
}

/// Begins an upload of that many bytes.
pub(super) async fn plan(app: &App, key: &ObjectKey, size_bytes: u64) -> Result<StorePlan, WorkerError> {
    let part_size = parts::part_size(size_bytes);
    let upload_id = app.objects.create_upload(key, CONTENT_TYPE).await?;
    let mut slots = Vec::new();
    for part_number in 1..=parts::count(size_bytes, part_size) {
        let signed =
            app.objects.presign_part(key, &upload_id, part_number, &Audience::Worker, URL_LIFE).await?;
        slots.push(PartSlot { part_number, url: signed.into_string() });
    }
    Ok(StorePlan { key: key.as_str().to_owned(), parts: slots, upload_id, part_size })
}

/// The parts of a plan by hash are there. May be repeated.
pub(super) async fn finish_by_hash(app: &App, done: StoreDone) -> Result<(), WorkerError> {
    let hash = done.key.strip_prefix(HASH_FOLDER).and_then(|hash| hash.parse::<Sha256>().ok());
    let hash = hash.ok_or_else(|| WorkerError::Input("the key is none that was given out".into()))?;
    finish(app, &hash_key(&hash), done).await
}

/// Makes the object of the parts and looks at its size. May be repeated. `key` is what the caller has found
/// [`StoreDone::key`] to be.
pub(super) async fn finish(app: &App, key: &ObjectKey, done: StoreDone) -> Result<(), WorkerError> {
    let parts: Vec<Part> =
        done.parts.into_iter().map(|part| Part { number: part.part_number, etag: part.etag }).collect();
    let completed = match parts.as_slice() {
        [] => Ok(()),
        parts => app.objects.complete_upload(key, &done.upload_id, parts).await.map(drop),
    };
    match completed {
        // Completed by an earlier call whose answer was lost.
        Ok(()) | Err(ObjectError::NoSuchUpload { .. }) => {}
        Err(error) if !error.retriable() => return Err(WorkerError::Input(error.to_string())),
        Err(error) => return Err(error.into()),
    }
    sized(app, key, done.size_bytes).await
}

async fn sized(app: &App, key: &ObjectKey, declared: u64) -> Result<(), WorkerError> {
    match app.objects.head(key).await?.map(|meta| meta.size) {
        Some(size) if size == declared => Ok(()),
        // Left where it is: the next plan for this key has it written anew.
        Some(size) => Err(WorkerError::Input(format!("{size} bytes are stored, {declared} are declared"))),
        None => Err(WorkerError::Input("the upload is not known; begin again with store".into())),
    }
}
