//! What is known of a Model while its files come in: is each what the Model says, and what are they together?

use std::path::{Path, PathBuf};
use std::sync::Arc;

use easel_diffusion::Inspection;
use easel_protocol::import::ImportTask;

use super::check::{check_type, is_weights};
use super::content::{Piece, inspect, opened, rewritten};
use super::error::ImportError;
use super::fetching::Fetched;
use super::folder::{self, Skeleton};
use super::progress::Meter;
use super::unpack::checked_name;

/// See the module.
pub(super) struct Intake<'a> {
    task: &'a ImportTask,
    work_dir: &'a Path,
    meter: &'a Arc<Meter>,
    /// Of a folder; a file by itself needs none.
    skeleton: Option<Skeleton>,
    /// What the Model is: the first weights, or the folder.
    main: Option<Inspection>,
}

impl<'a> Intake<'a> {
    pub(super) fn new(task: &'a ImportTask, work_dir: &'a Path, meter: &'a Arc<Meter>) -> Self {
        Self { task, work_dir, meter, skeleton: None, main: None }
    }

    pub(super) fn is_folder(&self) -> bool {
        self.skeleton.is_some()
    }

    /// What the Model is, if it has weights.
    pub(super) fn into_main(self) -> Result<Inspection, ImportError> {
        self.main.ok_or(ImportError::NoFiles)
    }

    /// Begins a skeleton if these are the names of a folder.
    pub(super) fn expect<'n>(&mut self, names: impl Iterator<Item = &'n str>) -> Result<(), ImportError> {
        if self.skeleton.is_none() && self.task.model_type == "Checkpoint" && folder::is_folder(names) {
            let failed = |source| ImportError::WorkDirectory { file: self.task.model.clone(), source };
            self.skeleton = Some(Skeleton::new(self.work_dir).map_err(failed)?);
        }
        Ok(())
    }

    /// The files of the Model that a fetched one stands for. `into`: where an archive is unpacked.
    pub(super) async fn opened(
        &mut self,
        fetched: &Fetched,
        into: PathBuf,
    ) -> Result<Vec<Piece>, ImportError> {
        let opened = match fetched.key {
            Some(_) => vec![fetched.piece.clone()],
            None => opened(fetched.piece.clone(), into, self.task.max_bytes, self.meter).await?,
        };
        self.expect(opened.iter().map(|piece| piece.name.as_str()))?;
        Ok(opened)
    }

    /// The pieces as they are to be stored, looked at. `stored`: they are where they are to be, as they are.
    pub(super) async fn looked_at(
        &mut self,
        opened: Vec<Piece>,
        stored: bool,
    ) -> Result<Vec<Piece>, ImportError> {
        let mut pieces = Vec::with_capacity(opened.len());
        for piece in opened {
            let piece = match stored {
                true => piece,
                false => rewritten(piece, self.task.max_bytes, self.meter).await?,
            };
            self.look_at(&piece).await?;
            pieces.push(piece);
        }
        Ok(pieces)
    }

    pub(super) async fn look_at(&mut self, piece: &Piece) -> Result<(), ImportError> {
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
    pub(super) fn judge(&mut self) -> Result<(), ImportError> {
        let Some(skeleton) = &self.skeleton else { return Ok(()) };
        let seen = skeleton.inspect(&self.task.model)?;
        check_type(&self.task.model, &self.task.model_type, &seen)?;
        self.main = Some(seen);
        Ok(())
    }
}
