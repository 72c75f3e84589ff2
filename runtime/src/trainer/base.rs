//! The base: from the object store into the disk cache.

use std::path::Path;
use std::sync::Arc;

use easel_protocol::import::is_side_file;
use easel_protocol::training::{TrainStage, TrainTask};
use easel_protocol::worker::ModelFile;

use super::config::TrainerConfig;
use super::error::TrainerError;
use super::memory::check_base;
use super::meter::Meter;
use crate::cache::{CachedModel, DiskCache};
use crate::fetch::free_bytes;
use crate::worker::Metrics;

/// Fetches the base unless it is here, looks at what it is, and holds it.
///
/// # Errors
/// It cannot be fetched, does not fit, or is no model.
pub(super) async fn fetch_base(
    config: &TrainerConfig,
    http: &reqwest::Client,
    task: &TrainTask,
    meter: &Meter,
) -> Result<CachedModel, TrainerError> {
    let failed = |source| TrainerError::Base { model: task.base_model.clone(), source };
    let directory = config.cache_dir.clone().unwrap_or_else(|| config.work_dir.join("cache"));
    let metrics = Arc::new(Metrics::new());
    let cache =
        DiskCache::open(&directory, config.cache_limit_bytes, http.clone(), metrics).map_err(failed)?;
    let files = weights(&task.base);
    if config.cache_dir.is_none() {
        check_room(&directory, &files)?;
    }
    let mut on_progress = |progress: crate::fetch::Progress| {
        meter.stage(TrainStage::Downloading, progress.received, progress.total.unwrap_or(0));
    };
    let base = cache.get_model(&files, &mut on_progress).await.map_err(failed)?;
    check_base(&task.base_model, base.path())?;
    Ok(base)
}

/// One checkpoint without what came along with it, or all files of a folder.
fn weights(files: &[ModelFile]) -> Vec<ModelFile> {
    let weights: Vec<_> = files.iter().filter(|file| !is_side_file(&file.file_name)).cloned().collect();
    if weights.len() == 1 { weights } else { files.to_vec() }
}

/// Found before the first byte, not after the last that fits.
fn check_room(directory: &Path, files: &[ModelFile]) -> Result<(), TrainerError> {
    let unusable = |source| TrainerError::WorkDirectory { path: directory.to_owned(), source };
    let mut need = 0_u64;
    for file in files {
        // Whole or in part, what is there needs no more room.
        let here = [".safetensors", ".part"]
            .map(|ending| directory.join(format!("{}{ending}", file.sha256)))
            .iter()
            .any(|path| path.exists());
        need = need.saturating_add(if here { 0 } else { file.size_bytes });
    }
    let free = free_bytes(directory).map_err(unusable)?;
    if need > free {
        return Err(TrainerError::NoRoom { what: "the files of the base", need, free });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(name: &str, size_bytes: u64) -> ModelFile {
        let sha256 = format!("{:064x}", name.len());
        ModelFile { model: "m".into(), file_name: name.into(), sha256, size_bytes, url: String::new() }
    }

    #[test]
    fn a_configuration_beside_a_checkpoint_makes_no_folder() {
        let names = |files: &[ModelFile]| -> Vec<String> {
            weights(files).into_iter().map(|file| file.file_name).collect()
        };
        assert_eq!(names(&[file("m.yaml", 1), file("m.safetensors", 1)]), ["m.safetensors"]);
        let folder =
            [file("unet/a.safetensors", 1), file("vae/b.safetensors", 1), file("unet/config.json", 1)];
        assert_eq!(names(&folder).len(), 3);
    }

    #[test]
    fn room_is_checked_before_the_first_byte() {
        let dir = tempfile::tempdir().unwrap();
        let huge = file("m.safetensors", u64::MAX / 2);
        let error = check_room(dir.path(), std::slice::from_ref(&huge)).unwrap_err();
        assert_eq!((error.reason(), error.retriable()), ("NoDiskSpace", true));
        std::fs::write(dir.path().join(format!("{}.part", huge.sha256)), "").unwrap();
        assert!(check_room(dir.path(), &[huge]).is_ok(), "room for what is under way was made before");
    }
}
