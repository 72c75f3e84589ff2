//! The working directory.

use std::path::Path;

use super::error::TrainerError;

/// An empty folder.
pub(super) fn fresh(folder: &Path) -> Result<(), TrainerError> {
    let unusable = |source| TrainerError::WorkDirectory { path: folder.to_owned(), source };
    match std::fs::remove_dir_all(folder) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(unusable(error)),
        _ => {}
    }
    std::fs::create_dir_all(folder).map_err(unusable)
}

/// Removes a file if it is there.
pub(super) fn remove_file(path: &Path) -> Result<(), TrainerError> {
    match std::fs::remove_file(path) {
        Err(source) if source.kind() != std::io::ErrorKind::NotFound => {
            Err(TrainerError::WorkDirectory { path: path.to_owned(), source })
        }
        _ => Ok(()),
    }
}
