//! The import from claim to result.

use std::time::Duration;

use easel_protocol::import::{ImportTask, ImportedFile, ImportedModel};

use super::check::prediction_type;
use super::config::ImportConfig;
use super::error::ImportError;
use super::fetching::{Fetched, Fetcher, Place};
use super::origins::{ResolvedFile, resolve};
use super::progress::{Meter, report};
use super::retry::Patience;
use super::storing::store;
use crate::facade::{CallError, Facade, TokenFile};
use crate::net::{GuardedClient, plain_client};

/// A facade that restarts is back in seconds; one that moves to another node, in a minute or two.
const FACADE_PATIENCE: Duration = Duration::from_secs(180);
/// The facade may not have seen the Model yet that this Job was made for.
const CLAIM_PATIENCE: Duration = Duration::from_secs(30);

/// Runs one import to its end.
///
/// # Errors
/// See [`ImportError::report`].
pub async fn import(config: &ImportConfig) -> Result<ImportedModel, ImportError> {
    let plain = plain_client().map_err(|source| ImportError::Client { source })?;
    let guarded =
        GuardedClient::new(config.allowed_cidrs.clone()).map_err(|source| ImportError::Client { source })?;
    let token = TokenFile::new(&config.token_file);
    let facade = Facade::new(plain.clone(), config.facade_url.clone(), token);
    let task = claim(&facade).await?;
    tracing::info!(
        model = task.model,
        model_type = task.model_type,
        files = task.files.len(),
        "import begins"
    );
    let fetcher = Fetcher {
        plain,
        guarded,
        work_dir: config.work_dir.clone(),
        volume_dir: config.volume_dir.clone(),
        stall: Duration::from_secs(config.stall_seconds),
        retries: config.fetch_retries,
    };
    let meter = Meter::default();
    let files = resolve(&task, &fetcher.guarded, fetcher.stall, &fetcher.volume_dir).await?;
    tokio::select! {
        result = import_files(&facade, &fetcher, &task, &files, &meter) => result,
        never = report(&facade, &meter) => match never {},
    }
}

async fn claim(facade: &Facade) -> Result<ImportTask, ImportError> {
    let not_yet = |error: &CallError| match error {
        CallError::Refused { .. } => true,
        CallError::Rejected { status, .. } => matches!(status.as_u16(), 403 | 404 | 409),
        other => other.retriable(),
    };
    let claimed = Patience(CLAIM_PATIENCE).repeat(|| facade.claim_import(), not_yet).await;
    claimed.map_err(|source| match source {
        CallError::Refused { .. } => ImportError::NothingToImport { source },
        CallError::Rejected { status, .. } if status.as_u16() == 409 => {
            ImportError::NothingToImport { source }
        }
        source => ImportError::Facade { source },
    })
}

async fn import_files(
    facade: &Facade,
    fetcher: &Fetcher,
    task: &ImportTask,
    resolved: &[ResolvedFile],
    meter: &Meter,
) -> Result<ImportedModel, ImportError> {
    let mut files = Vec::with_capacity(resolved.len());
    let mut main = None;
    for (index, file) in resolved.iter().enumerate() {
        let Fetched { received, inspection, place } = fetcher.fetch(task, file, index, meter).await?;
        let key = match place {
            Place::Stored { key } => key,
            Place::Disk { path } => {
                let patience = Patience(FACADE_PATIENCE);
                let key = store(facade, &fetcher.plain, patience, &file.name, &path, &received).await?;
                // The next file may need its room.
                let removed = tokio::fs::remove_file(&path).await;
                removed.map_err(|source| ImportError::WorkDirectory { file: file.name.clone(), source })?;
                key
            }
        };
        tracing::info!(
            file = file.name,
            sha256 = received.sha256,
            size_bytes = received.size_bytes,
            "file imported"
        );
        files.push(ImportedFile {
            name: file.name.clone(),
            key,
            sha256: received.sha256,
            size_bytes: received.size_bytes,
        });
        main = main.or(inspection);
    }
    let main = main.ok_or(ImportError::NoFiles)?;
    Ok(ImportedModel {
        files,
        family: main.family.to_string(),
        prediction_type: prediction_type(&main),
        precision: Some(main.precision.to_string().to_ascii_lowercase()),
    })
}
