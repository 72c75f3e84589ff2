//! The files of one model under their own names: links in a folder that is called after what is in it.

use std::io;
use std::path::{Component, Path, PathBuf};

use easel_protocol::worker::ModelFile;
use sha2::{Digest, Sha256};

use super::error::CacheError;

const FOLDERS: &str = "folders";
/// A diffusers folder is two deep.
const MAX_DEPTH: usize = 6;

/// Makes the folder of `files`, which are in the cache at `directory`. Twice is the same as once, also when two
/// processes do it at a time.
///
/// # Errors
/// [`CacheError::BadName`] for a name that is no plain relative path, [`CacheError::Directory`].
pub(super) fn lay_out(directory: &Path, files: &[ModelFile]) -> Result<PathBuf, CacheError> {
    let folder = directory.join(FOLDERS).join(digest(files));
    for file in files {
        let name = Path::new(&file.file_name);
        let depth = name.components().count();
        let plain = name.components().all(|part| matches!(part, Component::Normal(_)));
        if !plain || depth == 0 || depth > MAX_DEPTH || file.file_name.contains(['\\', '\0']) {
            let shown = file.file_name.chars().take(200).collect();
            return Err(CacheError::BadName { model: file.model.clone(), name: shown });
        }
        link(directory, &folder.join(name), &file.sha256)
            .map_err(|source| CacheError::Directory { path: folder.clone(), source })?;
    }
    Ok(folder)
}

fn link(directory: &Path, at: &Path, sha256: &str) -> io::Result<()> {
    if let Some(parent) = at.parent() {
        std::fs::create_dir_all(parent)?;
    }
    // From the root, since a link is followed from where it stands.
    let target = std::path::absolute(directory)?.join(format!("{sha256}.safetensors"));
    match std::os::unix::fs::symlink(&target, at) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            if std::fs::read_link(at)? == target {
                return Ok(());
            }
            // The directory is mounted elsewhere than when the link was made.
            std::fs::remove_file(at)?;
            std::os::unix::fs::symlink(&target, at)
        }
        other => other,
    }
}

/// Names and hashes of all files make the name.
fn digest(files: &[ModelFile]) -> String {
    let mut lines: Vec<_> =
        files.iter().map(|file| format!("{}\n{}\n", file.sha256, file.file_name)).collect();
    lines.sort();
    hex::encode(Sha256::digest(lines.concat()))
}

/// Removes folders that lost a file. What is in use lost none: its files are held.
pub(super) fn sweep(directory: &Path) -> io::Result<()> {
    let folders = match std::fs::read_dir(directory.join(FOLDERS)) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        other => other?,
    };
    for folder in folders {
        let folder = folder?.path();
        if lost_a_file(&folder, MAX_DEPTH)? {
            std::fs::remove_dir_all(&folder)?;
        }
    }
    Ok(())
}

fn lost_a_file(folder: &Path, depth: usize) -> io::Result<bool> {
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        let kind = entry.file_type()?;
        let lost = if kind.is_dir() {
            depth > 0 && lost_a_file(&entry.path(), depth - 1)?
        } else {
            kind.is_symlink() && !entry.path().exists()
        };
        if lost {
            return Ok(true);
        }
    }
    Ok(false)
}
