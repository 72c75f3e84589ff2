//! The checkpoints of a run: which is the newest that can be used, and which are too many.

use std::path::{Path, PathBuf};

use super::checkpoint::{CheckpointError, Snapshot, read, verify, write};

/// A folder of checkpoints.
#[derive(Debug, Clone)]
pub struct Checkpoints {
    folder: PathBuf,
}

impl Checkpoints {
    /// Makes the folder if there is none.
    ///
    /// # Errors
    /// It cannot be made.
    pub fn open(folder: &Path) -> Result<Self, CheckpointError> {
        std::fs::create_dir_all(folder)
            .map_err(|source| CheckpointError::Write { path: folder.to_owned(), source })?;
        Ok(Self { folder: folder.to_owned() })
    }

    /// Finished steps and files of all checkpoints, damaged ones too, from the oldest.
    ///
    /// # Errors
    /// The folder cannot be read.
    pub fn list(&self) -> Result<Vec<(u64, PathBuf)>, CheckpointError> {
        let failed = |source| CheckpointError::Read { path: self.folder.clone(), source };
        let mut found = Vec::new();
        for entry in std::fs::read_dir(&self.folder).map_err(failed)? {
            let path = entry.map_err(failed)?.path();
            let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
            let number = name.strip_prefix("step-").and_then(|rest| rest.strip_suffix(".json"));
            if let Some(step) = number.and_then(|digits| digits.parse().ok()) {
                found.push((step, self.path(step)));
            }
        }
        found.sort();
        Ok(found)
    }

    /// Fills `snapshot` from the newest checkpoint that is whole and returns its step; damaged ones are
    /// passed over, one of another run is an error.
    pub(super) fn restore(
        &self,
        run: &str,
        total: u64,
        snapshot: &mut Snapshot,
    ) -> Result<Option<u64>, CheckpointError> {
        for (step, path) in self.list()?.into_iter().rev() {
            let Ok(card) = verify(&path) else { continue };
            if card.run != run || card.step != step {
                return Err(CheckpointError::OtherRun { path });
            }
            if step > total {
                return Err(CheckpointError::Beyond { path, step, total });
            }
            read(&path, snapshot)?;
            return Ok(Some(step));
        }
        Ok(None)
    }

    /// Writes one and removes the oldest beyond `keep`.
    pub(super) fn save(
        &self,
        step: u64,
        run: &str,
        snapshot: &Snapshot,
        keep: usize,
    ) -> Result<PathBuf, CheckpointError> {
        let path = self.path(step);
        write(&path, step, run, snapshot)?;
        let all = self.list()?;
        for (_, old) in &all[..all.len().saturating_sub(keep)] {
            // The JSON first: without it the rest counts for nothing. What cannot be removed only takes room.
            let _ = std::fs::remove_file(old.with_extension("json"));
            let _ = std::fs::remove_file(old);
        }
        Ok(path)
    }

    fn path(&self, step: u64) -> PathBuf {
        self.folder.join(format!("step-{step:08}.safetensors"))
    }
}
