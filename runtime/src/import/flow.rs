//! The import from claim to result.

use std::sync::Arc;
use std::time::Duration;

use easel_diffusion::{AdapterFacts, Inspection};
use easel_protocol::import::{
    ImportTask, ImportedFile, ImportedModel, ImportedNetwork, ImportedPicture, MergeTask,
};

use super::check::prediction_type;
use super::config::ImportConfig;
use super::error::ImportError;
use super::fetching::Fetcher;
use super::files::import_files;
use super::intake::Intake;
use super::keeping::Keeper;
use super::merging::merged;
use super::origins::{ResolvedFile, resolve};
use super::progress::{Meter, report, report_end};
use super::retry::Patience;
use crate::facade::{CallError, Facade, TokenFile};
use crate::net::{GuardedClient, plain_client};

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
        connections: usize::try_from(config.fetch_connections).unwrap_or(1),
        part_bytes: config.fetch_part_bytes,
    };
    let meter = Arc::new(Meter::default());
    let files = resolve(&task, &fetcher.guarded, fetcher.stall, &fetcher.volume_dir).await?;
    let keeper = Keeper { facade: &facade, http: &fetcher.plain, meter: &meter };
    let work = async {
        let (files, main) = match &task.merge {
            Some(how) => import_merged(keeper, &fetcher, &task, how, &files, &meter).await?,
            None => import_files(keeper, &fetcher, &task, &files, &meter).await?,
        };
        let picture = keeper.keep_picture(&fetcher.work_dir, &main).await?;
        Ok(imported(files, main, picture).fitted()?)
    };
    let result = tokio::select! {
        result = work => result,
        never = report(&facade, &meter) => match never {},
    };
    report_end(&facade, &meter).await;
    result
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

async fn import_merged(
    keeper: Keeper<'_>,
    fetcher: &Fetcher,
    task: &ImportTask,
    how: &MergeTask,
    resolved: &[ResolvedFile],
    meter: &Arc<Meter>,
) -> Result<(Vec<ImportedFile>, Inspection), ImportError> {
    let piece = merged(fetcher, task, how, resolved, meter).await?;
    let mut intake = Intake::new(task, &fetcher.work_dir, meter);
    intake.look_at(&piece).await?;
    let path = piece.path.clone();
    let file = keeper.keep(piece, None).await?;
    let removed = tokio::fs::remove_file(&path).await;
    removed.map_err(|source| ImportError::WorkDirectory { file: how.name.clone(), source })?;
    Ok((vec![file], intake.into_main()?))
}

fn imported(files: Vec<ImportedFile>, main: Inspection, thumbnail: Option<ImportedPicture>) -> ImportedModel {
    ImportedModel {
        files,
        family: main.family.to_string(),
        prediction_type: prediction_type(&main),
        precision: Some(main.precision.to_string().to_ascii_lowercase()),
        trigger_words: main.about.trigger_words,
        base_model: main.about.base_model,
        network: main.adapter.as_ref().map(network),
        thumbnail,
    }
}

fn network(adapter: &AdapterFacts) -> ImportedNetwork {
    ImportedNetwork { kind: adapter.network.to_string(), rank: adapter.ranks.iter().copied().max() }
}
