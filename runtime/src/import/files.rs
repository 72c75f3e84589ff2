//! The import of files: one after the other they are fetched, opened, looked at and stored, so that the working
//! directory needs room for one of them.

use std::path::Path;
use std::sync::Arc;

use easel_diffusion::Inspection;
use easel_protocol::import::{ImportTask, ImportedFile, ImportedModel, MAX_FILES};

use super::content::Piece;
use super::error::ImportError;
use super::fetching::{Fetcher, identity};
use super::finished::Records;
use super::folder;
use super::intake::Intake;
use super::keeping::Keeper;
use super::origins::{ResolvedFile, ResolvedPlace};
use super::progress::Meter;

/// Imports all of `resolved` that belongs to the Model: its files, and what they are together.
pub(super) async fn import_files(
    keeper: Keeper<'_>,
    fetcher: &Fetcher,
    task: &ImportTask,
    resolved: &[ResolvedFile],
    meter: &Arc<Meter>,
) -> Result<(Vec<ImportedFile>, Inspection), ImportError> {
    let names: Vec<_> = resolved.iter().map(|file| file.name.clone()).collect();
    let mut intake = Intake::new(task, &fetcher.work_dir, meter);
    intake.expect(names.iter().map(String::as_str))?;
    let wanted = |file: &&ResolvedFile| folder::is_wanted(&file.name, &names, intake.is_folder());
    let wanted: Vec<_> = resolved.iter().filter(wanted).collect();
    check_room(wanted.iter().map(|file| (file.name.as_str(), file.size_bytes.unwrap_or(0))))?;
    meter.expect(wanted.iter().map(|file| file.size_bytes));
    let records = Records::new(&fetcher.work_dir);
    let alone = !intake.is_folder();
    let mut import = FilesImport { keeper, fetcher, task, meter, intake, records, alone, files: Vec::new() };
    for (index, file) in wanted.iter().enumerate() {
        let last = index + 1 == wanted.len();
        if !import.recall(index, file, last).await? {
            import.take(index, file, last).await?;
        }
    }
    let FilesImport { intake, mut files, .. } = import;
    if intake.is_folder() {
        files.sort_by_key(|file| folder::rank(&file.name));
    }
    let main = intake.into_main()?;
    records.clear(wanted.len()).map_err(|source| unusable(&task.model, source))?;
    Ok((files, main))
}

/// Can so many files of these names be reported? Asked before they are stored.
fn check_room<'a>(files: impl Iterator<Item = (&'a str, u64)> + Clone) -> Result<(), ImportError> {
    let found = files.clone().count();
    if found > MAX_FILES {
        return Err(ImportError::TooManyFiles { found, limit: MAX_FILES });
    }
    Ok(ImportedModel::check_room(files)?)
}

fn unusable(file: &str, source: std::io::Error) -> ImportError {
    ImportError::WorkDirectory { file: file.to_owned(), source }
}

struct FilesImport<'a> {
    keeper: Keeper<'a>,
    fetcher: &'a Fetcher,
    task: &'a ImportTask,
    meter: &'a Arc<Meter>,
    intake: Intake<'a>,
    records: Records<'a>,
    /// Each file says by itself what it is.
    alone: bool,
    files: Vec<ImportedFile>,
}

impl FilesImport<'_> {
    /// Fetches and stores one file. `last`: no other comes after it.
    async fn take(&mut self, index: usize, file: &ResolvedFile, last: bool) -> Result<(), ImportError> {
        let fetched = self.fetcher.fetch(self.task, file, index, self.alone, self.meter).await?;
        let unpacked = self.fetcher.work_dir.join(format!("import-{index}.d"));
        let opened = self.intake.opened(&fetched, unpacked.clone()).await?;
        let known = self.files.iter().map(|file| (file.name.as_str(), file.size_bytes));
        check_room(known.chain(opened.iter().map(|piece| (piece.name.as_str(), 0))))?;
        let pieces = self.intake.looked_at(opened, fetched.key.is_some()).await?;
        if last {
            // Of a folder nothing more is to come: it is judged before the rest of it is stored.
            self.intake.judge()?;
        }
        let recorded = is_recorded(file);
        let first = self.files.len();
        for (part, piece) in pieces.into_iter().enumerate() {
            let imported = self.keeper.keep(piece.clone(), fetched.key.clone()).await?;
            if recorded {
                self.records.outline(index, part, &piece).map_err(|source| unusable(&file.name, source))?;
            }
            if piece.path != fetched.piece.path {
                // What was made of a fetched file is made again after a kill; that file itself stays until the end.
                let removed = tokio::fs::remove_file(&piece.path).await;
                removed.map_err(|source| unusable(&file.name, source))?;
            }
            self.add(imported)?;
        }
        if recorded {
            let written = self.records.write(index, &identity(self.task, file), &self.files[first..]);
            written.map_err(|source| unusable(&file.name, source))?;
        }
        fetched.clean_up().await?;
        remove_folder(&file.name, &unpacked).await
    }

    /// Takes a file as an earlier process left it in the store; `false` if there is none.
    async fn recall(&mut self, index: usize, file: &ResolvedFile, last: bool) -> Result<bool, ImportError> {
        if !is_recorded(file) {
            return Ok(false);
        }
        let known = self.records.read(index, &identity(self.task, file));
        let Some(known) = known.map_err(|source| unusable(&file.name, source))? else { return Ok(false) };
        for (_, stored) in &known {
            if !self.keeper.has(stored).await? {
                return Ok(false);
            }
        }
        tracing::info!(file = file.name, "the file was stored by an earlier process");
        let (pieces, stored): (Vec<Piece>, Vec<ImportedFile>) = known.into_iter().unzip();
        self.intake.expect(pieces.iter().map(|piece| piece.name.as_str()))?;
        for piece in &pieces {
            self.intake.look_at(piece).await?;
        }
        if last {
            self.intake.judge()?;
        }
        self.meter.file_done(file.size_bytes.unwrap_or(0));
        stored.into_iter().try_for_each(|stored| self.add(stored)).map(|()| true)
    }

    fn add(&mut self, imported: ImportedFile) -> Result<(), ImportError> {
        if self.files.iter().any(|other| other.name == imported.name) {
            return Err(ImportError::TwoOfAName { name: imported.name });
        }
        self.files.push(imported);
        Ok(())
    }
}

/// Is what was stored of it worth a record? Only a known hash tells the file from a later one of its name.
fn is_recorded(file: &ResolvedFile) -> bool {
    file.sha256.is_some() && matches!(file.place, ResolvedPlace::Remote { .. })
}

async fn remove_folder(file: &str, folder: &Path) -> Result<(), ImportError> {
    match tokio::fs::remove_dir_all(folder).await {
        Err(source) if source.kind() != std::io::ErrorKind::NotFound => Err(unusable(file, source)),
        _ => Ok(()),
    }
}
