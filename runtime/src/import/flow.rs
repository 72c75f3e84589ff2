//! The import from claim to result.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use easel_diffusion::Inspection;
use easel_protocol::import::{ImportTask, ImportedFile, ImportedModel, MergeTask};

use super::check::{check_type, is_weights, prediction_type};
use super::config::ImportConfig;
use super::content::{Piece, inspect, opened, rewritten};
use super::error::ImportError;
use super::fetching::{Fetched, Fetcher};
use super::folder::{self, Skeleton};
use super::merging::merged;
use super::origins::{ResolvedFile, resolve};
use super::progress::{Meter, report};
use super::retry::Patience;
use super::storing::store;
use super::unpack::checked_name;
use crate::facade::{CallError, Facade, TokenFile};
use crate::fetch::{Received, Receiver};
use crate::net::{GuardedClient, plain_client};

/// A facade that restarts is back in seconds; one that moves to another node, in a minute or two.
const FACADE_PATIENCE: Duration = Duration::from_secs(180);
/// The facade may not have seen the Model yet that this Job was made for.
const CLAIM_PATIENCE: Duration = Duration::from_secs(30);

/// What a Model's status takes.
const MAX_FILES: usize = 64;

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
    let work = async {
        match &task.merge {
            Some(how) => import_merged(&facade, &fetcher, &task, how, &files, &meter).await,
            None => import_files(&facade, &fetcher, &task, &files, &meter).await,
        }
    };
    tokio::select! {
        result = work => result,
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
    let names: Vec<_> = resolved.iter().map(|file| file.name.clone()).collect();
    let mut intake = Intake { task, work_dir: &fetcher.work_dir, skeleton: None, main: None };
    intake.expect(names.iter().map(String::as_str))?;
    let is_folder = intake.skeleton.is_some();
    let wanted: Vec<_> =
        resolved.iter().filter(|file| folder::is_wanted(&file.name, &names, is_folder)).collect();
    meter.expect(wanted.iter().map(|file| file.size_bytes));
    let mut files: Vec<ImportedFile> = Vec::with_capacity(wanted.len());
    for (index, file) in wanted.iter().enumerate() {
        let fetched = fetcher.fetch(task, file, index, !is_folder, meter).await?;
        let unpacked = fetcher.work_dir.join(format!("import-{index}.d"));
        let pieces = intake.pieces(&fetched, unpacked.clone()).await?;
        if index + 1 == wanted.len() {
            // Of a folder nothing more is to come: it is judged before the rest of it is stored.
            intake.judge()?;
        }
        for piece in pieces {
            let path = piece.path.clone();
            let imported = keep(facade, fetcher, piece, fetched.key.clone()).await?;
            if path != fetched.piece.path {
                // What was made of a fetched file is made again after a kill; that file itself stays until the end.
                let removed = tokio::fs::remove_file(&path).await;
                removed.map_err(|source| ImportError::WorkDirectory { file: file.name.clone(), source })?;
            }
            if files.iter().any(|other| other.name == imported.name) {
                return Err(ImportError::TwoOfAName { name: imported.name });
            }
            files.push(imported);
            if files.len() > MAX_FILES {
                return Err(ImportError::TooManyFiles { found: files.len(), limit: MAX_FILES });
            }
        }
        fetched.clean_up().await?;
        remove_folder(&file.name, &unpacked).await?;
    }
    if intake.skeleton.is_some() {
        files.sort_by_key(|file| folder::rank(&file.name));
    }
    imported(files, intake.main)
}

async fn import_merged(
    facade: &Facade,
    fetcher: &Fetcher,
    task: &ImportTask,
    how: &MergeTask,
    resolved: &[ResolvedFile],
    meter: &Arc<Meter>,
) -> Result<ImportedModel, ImportError> {
    let piece = merged(fetcher, task, how, resolved, meter).await?;
    let mut intake = Intake { task, work_dir: &fetcher.work_dir, skeleton: None, main: None };
    intake.look_at(&piece).await?;
    let path = piece.path.clone();
    let file = keep(facade, fetcher, piece, None).await?;
    let removed = tokio::fs::remove_file(&path).await;
    removed.map_err(|source| ImportError::WorkDirectory { file: how.name.clone(), source })?;
    imported(vec![file], intake.main)
}

fn imported(files: Vec<ImportedFile>, main: Option<Inspection>) -> Result<ImportedModel, ImportError> {
    let main = main.ok_or(ImportError::NoFiles)?;
    Ok(ImportedModel {
        files,
        family: main.family.to_string(),
        prediction_type: prediction_type(&main),
        precision: Some(main.precision.to_string().to_ascii_lowercase()),
    })
}

/// What is known of the Model so far.
struct Intake<'a> {
    task: &'a ImportTask,
    work_dir: &'a Path,
    /// Of a folder; a file by itself needs none.
    skeleton: Option<Skeleton>,
    /// What the Model is: the first weights, or the folder.
    main: Option<Inspection>,
}

impl Intake<'_> {
    /// Begins a skeleton if these are the names of a folder.
    fn expect<'n>(&mut self, names: impl Iterator<Item = &'n str>) -> Result<(), ImportError> {
        if self.skeleton.is_none() && self.task.model_type == "Checkpoint" && folder::is_folder(names) {
            let failed = |source| ImportError::WorkDirectory { file: self.task.model.clone(), source };
            self.skeleton = Some(Skeleton::new(self.work_dir).map_err(failed)?);
        }
        Ok(())
    }

    /// The files of the Model that a fetched one stands for, looked at. `into`: where an archive is unpacked.
    async fn pieces(&mut self, fetched: &Fetched, into: PathBuf) -> Result<Vec<Piece>, ImportError> {
        let max_bytes = self.task.max_bytes;
        let opened = match fetched.key {
            Some(_) => vec![fetched.piece.clone()],
            None => opened(fetched.piece.clone(), into, max_bytes).await?,
        };
        self.expect(opened.iter().map(|piece| piece.name.as_str()))?;
        let mut pieces = Vec::with_capacity(opened.len());
        for piece in opened {
            let piece = match fetched.key {
                Some(_) => piece,
                None => rewritten(piece, max_bytes).await?,
            };
            self.look_at(&piece).await?;
            pieces.push(piece);
        }
        Ok(pieces)
    }

    async fn look_at(&mut self, piece: &Piece) -> Result<(), ImportError> {
        if let Some(skeleton) = &self.skeleton {
            let bad = |source| ImportError::Unpack { file: piece.name.clone(), source };
            let name = checked_name(piece.name.as_bytes()).map_err(bad)?;
            return skeleton
                .add(&name, &piece.path)
                .map_err(|source| ImportError::WorkDirectory { file: piece.name.clone(), source });
        }
        if is_weights(&piece.name) {
            let seen = inspect(piece).await?;
            check_type(&piece.name, &self.task.model_type, &seen)?;
            self.main.get_or_insert(seen);
        }
        Ok(())
    }

    /// Of a folder: what all its files together are.
    fn judge(&mut self) -> Result<(), ImportError> {
        let Some(skeleton) = &self.skeleton else { return Ok(()) };
        let seen = skeleton.inspect(&self.task.model)?;
        check_type(&self.task.model, &self.task.model_type, &seen)?;
        self.main = Some(seen);
        Ok(())
    }
}

/// Brings a piece into the object store, if it is not there already.
async fn keep(
    facade: &Facade,
    fetcher: &Fetcher,
    piece: Piece,
    key: Option<String>,
) -> Result<ImportedFile, ImportError> {
    let Piece { name, path, received } = piece;
    let received = match received {
        Some(received) => received,
        None => hash(&name, &path).await?,
    };
    let key = match key {
        Some(key) => key,
        None => store(facade, &fetcher.plain, Patience(FACADE_PATIENCE), &name, &path, &received).await?,
    };
    let Received { sha256, size_bytes } = received;
    tracing::info!(file = name, sha256, size_bytes, "file imported");
    Ok(ImportedFile { name, key, sha256, size_bytes })
}

async fn hash(name: &str, path: &Path) -> Result<Received, ImportError> {
    let hashed = async { Receiver::resume_file(path).await?.finish().await };
    hashed.await.map_err(|source| ImportError::Fetch { file: name.to_owned(), source })
}

async fn remove_folder(file: &str, folder: &Path) -> Result<(), ImportError> {
    match tokio::fs::remove_dir_all(folder).await {
        Err(source) if source.kind() != std::io::ErrorKind::NotFound => {
            Err(ImportError::WorkDirectory { file: file.to_owned(), source })
        }
        _ => Ok(()),
    }
}
