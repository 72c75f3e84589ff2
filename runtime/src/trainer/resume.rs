//! The checkpoint that a run goes on from: from the object store into the folder that the engine looks into.

use std::path::Path;

use easel_protocol::training::{StateFile, StoredState};
use url::Url;

use super::error::TrainerError;
use super::losses::LOSSES;
use crate::fetch::{FetchError, FetchPolicy, PartFile, PlainSource, fetch_file, free_bytes};

/// Largest checkpoint file: a full model's variables, states and averages in f32.
const MAX_BYTES: u64 = 256 << 30;

/// The names of a checkpoint's files: the tensors and their card, as the engine names them.
pub(super) fn state_names(step: u64) -> [String; 2] {
    [format!("step-{step:08}.safetensors"), format!("step-{step:08}.json")]
}

/// Fetches the files of the state into `folder`, and the losses to `losses`. The engine checks the tensors against
/// their card, and begins anew if they differ.
///
/// # Errors
/// A file cannot be had, or there is no room.
pub(super) async fn fetch_state(
    http: &reqwest::Client,
    state: &StoredState,
    folder: &Path,
    losses: &Path,
) -> Result<(), TrainerError> {
    let step = state.step;
    let unusable = |source| TrainerError::WorkDirectory { path: folder.to_owned(), source };
    let need = state.files.iter().map(|file| file.size_bytes).fold(0, u64::saturating_add);
    let free = free_bytes(folder).map_err(unusable)?;
    if need > free {
        return Err(TrainerError::NoRoom { what: "the files of the checkpoint", need, free });
    }
    for name in state_names(step) {
        let file = state.files.iter().find(|file| file.name == name);
        let file = file.ok_or_else(|| TrainerError::CheckpointIncomplete { step, name: name.clone() })?;
        fetch_one(http, step, file, &folder.join(&name)).await?;
    }
    if let Some(file) = state.files.iter().find(|file| file.name == LOSSES) {
        fetch_one(http, step, file, losses).await?;
    }
    Ok(())
}

async fn fetch_one(
    http: &reqwest::Client,
    step: u64,
    file: &StateFile,
    path: &Path,
) -> Result<(), TrainerError> {
    let failed = |source| TrainerError::Checkpoint { step, source };
    let incomplete = || TrainerError::CheckpointIncomplete { step, name: file.name.clone() };
    let url = Url::parse(&file.url).map_err(|_| incomplete())?;
    let source = PlainSource { http: http.clone(), url };
    let part = PartFile::new(path, format!("{step} {}", file.name));
    let policy = FetchPolicy {
        expected_bytes: Some(file.size_bytes),
        hash_known: true,
        ..FetchPolicy::new(file.size_bytes.min(MAX_BYTES))
    };
    match fetch_file(&source, &part, &policy, &mut |_| {}).await {
        Ok(_) => part.forget().await.map_err(failed),
        Err(FetchError::Status { status, .. }) if status == http::StatusCode::NOT_FOUND => Err(incomplete()),
        Err(source) => Err(failed(source)),
    }
}
