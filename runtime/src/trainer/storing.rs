//! The result, from the working directory into the object store, by its hash.

use std::path::Path;
use std::time::Duration;

use easel_protocol::import::{ImportedFile, StoreDone, StorePlan, StoreRequest};
use easel_protocol::training::TrainStage;
use tokio::time::sleep;

use super::error::TrainerError;
use super::meter::Meter;
use crate::backoff::Backoff;
use crate::error::chain;
use crate::facade::{CallError, Facade};
use crate::fetch::{FetchError, Received, Receiver};
use crate::import::Patience;
use crate::upload::Parts;

/// Hours of work are in the file: a facade that is away for minutes is waited for.
const FACADE_PATIENCE: Patience = Patience(Duration::from_secs(900));
/// Addresses of a plan run out, and an upload may be aborted at the other end.
const PLANS: u32 = 4;

/// Puts the file into the store, unless its bytes are there already.
///
/// # Errors
/// The facade or the store refuse, or are away for long.
pub(super) async fn store_result(
    facade: &Facade,
    http: &reqwest::Client,
    name: &str,
    path: &Path,
    meter: &Meter,
) -> Result<ImportedFile, TrainerError> {
    let received = hash(path).await?;
    let Received { sha256, size_bytes } = received;
    let request = StoreRequest { sha256: sha256.clone(), size_bytes };
    let mut backoff = Backoff::new(Duration::from_secs(1), Duration::from_secs(30));
    let key = loop {
        let failed = |source| TrainerError::Facade { source };
        meter.stage(TrainStage::Storing, 0, size_bytes);
        let plan = FACADE_PATIENCE.repeat(|| facade.store_trained(&request), CallError::retriable).await;
        let plan = plan.map_err(failed)?;
        if plan.parts.is_empty() {
            break plan.key;
        }
        let parts = Parts { http, file: name, path, size_bytes, plan: &plan };
        match parts.send(&|sent| meter.stage(TrainStage::Storing, sent, size_bytes)).await {
            Ok(parts) => {
                let StorePlan { key, upload_id, .. } = plan;
                let done = StoreDone { key: key.clone(), upload_id, size_bytes, parts };
                let completed =
                    FACADE_PATIENCE.repeat(|| facade.complete_trained(&done), CallError::retriable).await;
                completed.map_err(failed)?;
                break key;
            }
            Err(error) if backoff.tries() + 1 < PLANS => {
                tracing::warn!(error = %chain(&error), "cannot store the result; asking for a new plan");
                sleep(backoff.next_delay()).await;
            }
            Err(error) => return Err(error.into()),
        }
    };
    meter.stage(TrainStage::Storing, size_bytes, size_bytes);
    tracing::info!(file = name, sha256, size_bytes, "result stored");
    Ok(ImportedFile { name: name.to_owned(), key, sha256, size_bytes })
}

async fn hash(path: &Path) -> Result<Received, TrainerError> {
    let hashed = async { Receiver::resume_file(path).await?.finish().await };
    hashed.await.map_err(|error| match error {
        FetchError::Write { path, source } => TrainerError::WorkDirectory { path, source },
        other => TrainerError::WorkDirectory { path: path.to_owned(), source: std::io::Error::other(other) },
    })
}
