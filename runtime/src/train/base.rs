//! What tells one base from another.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use super::error::TrainFailure;

/// Folders in a folder in the layout of diffusers: one level.
const MAX_DEPTH: usize = 2;

/// A digest of the bytes of a checkpoint, or of all files of a folder with their names.
pub(super) fn digest(base: &Path) -> Result<String, TrainFailure> {
    let mut hash = Sha256::new();
    for file in files(base, 0)? {
        let failed = |source| TrainFailure::Read { path: file.clone(), source };
        let name = file.strip_prefix(base).unwrap_or(&file).to_string_lossy().into_owned();
        hash.update(name.as_bytes());
        let mut reader = File::open(&file).map_err(failed)?;
        let mut buffer = vec![0; 1 << 20];
        loop {
            match reader.read(&mut buffer).map_err(failed)? {
                0 => break,
                count => hash.update(&buffer[..count]),
            }
        }
    }
    Ok(hex::encode(hash.finalize()))
}

fn files(path: &Path, depth: usize) -> Result<Vec<PathBuf>, TrainFailure> {
    let failed = |source| TrainFailure::Read { path: path.to_owned(), source };
    if !std::fs::metadata(path).map_err(failed)?.is_dir() {
        return Ok(vec![path.to_owned()]);
    }
    let mut found = Vec::new();
    if depth < MAX_DEPTH {
        let entries: std::io::Result<Vec<_>> = std::fs::read_dir(path).map_err(failed)?.collect();
        let mut paths: Vec<PathBuf> =
            entries.map_err(failed)?.into_iter().map(|entry| entry.path()).collect();
        paths.sort();
        for path in paths {
            found.extend(files(&path, depth + 1)?);
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_bytes_count() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join("unet")).unwrap();
        let write = |name: &str, text: &str| std::fs::write(dir.path().join(name), text).unwrap();
        write("unet/a", "1");
        let first = digest(dir.path()).unwrap();
        assert_eq!(first, digest(dir.path()).unwrap());
        write("unet/a", "2");
        assert_ne!(first, digest(dir.path()).unwrap());
        assert!(digest(&dir.path().join("none")).unwrap_err().report().message.contains("none"));
    }
}
