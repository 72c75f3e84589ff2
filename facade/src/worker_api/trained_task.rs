//! What an importer is to take over from a TrainingJob. Pure.

use easel_store::jobs::Sha256;

use super::error::WorkerError;
use super::import_task::{Place, Wanted};
use crate::catalog::{FileView, ModelView, TrainingView};
use crate::collector::hash_key;

/// # Errors
/// [`WorkerError::NothingToImport`] while the job has no result, or one that is none.
pub(super) fn trained(
    model: &ModelView,
    name: &str,
    job: Option<TrainingView>,
) -> Result<Wanted, WorkerError> {
    let nothing = |reason, message| Err(WorkerError::NothingToImport { reason, message });
    let namespace = &model.namespace;
    let Some(FileView { name: file, key, sha256, .. }) = job.and_then(|job| job.result) else {
        return nothing("WaitingForTraining", format!("TrainingJob {namespace}/{name} has no result (yet)"));
    };
    // Its pod has said where it is: nothing but weights by their hash are taken from there.
    match sha256.parse::<Sha256>() {
        Ok(hash) if hash_key(&hash).as_str() == key => {
            Ok(Wanted { name: file, from: Place::Stored(hash_key(&hash)), sha256: Some(sha256) })
        }
        _ => nothing(
            "KeyNotAllowed",
            format!("the result of TrainingJob {namespace}/{name} is not stored under its sha256"),
        ),
    }
}
