//! Files that become one: where an import fetches, a merge computes.

use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use easel_diffusion::merge::{
    self, MergePlan, MergeProgress, MergeSource, MergeStage, Method, OutputPrecision,
};
use easel_protocol::import::{ImportPhase, ImportTask, MergeMethod, MergePrecision, MergeTask};

use super::content::Piece;
use super::error::ImportError;
use super::fetching::Fetcher;
use super::origins::ResolvedFile;
use super::progress::Meter;
use crate::fetch::Received;

/// Fetches the files and merges them into a piece in the working directory, which then holds nothing else.
pub(super) async fn merged(
    fetcher: &Fetcher,
    task: &ImportTask,
    how: &MergeTask,
    resolved: &[ResolvedFile],
    meter: &Arc<Meter>,
) -> Result<Piece, ImportError> {
    let mut fetched = Vec::with_capacity(resolved.len());
    for (index, file) in resolved.iter().enumerate() {
        fetched.push(fetcher.fetch_to_disk(task, file, index, meter).await?);
    }
    let paths: Vec<PathBuf> = fetched.iter().map(|fetched| fetched.piece.path.clone()).collect();
    let plan = plan(how, resolved, &paths).ok_or(ImportError::NoFiles)?;
    let path = fetcher.work_dir.join("merged.safetensors");
    let (out, shown) = (path.clone(), Arc::clone(meter));
    let work = tokio::task::spawn_blocking(move || {
        merge::merge(&plan, &out, &mut |MergeProgress { stage, done, total }| {
            let phase = match stage {
                MergeStage::Hashing => ImportPhase::Checking,
                MergeStage::Merging => ImportPhase::Merging,
            };
            shown.step(phase, done, Some(total));
            ControlFlow::Continue(())
        })
    });
    let ended = work.await.map_err(|source| ImportError::MergePanicked { name: how.name.clone(), source })?;
    let merged =
        ended.map_err(|source| ImportError::Merge { name: how.name.clone(), source: Box::new(source) })?;
    tracing::info!(
        name = how.name,
        combined = merged.combined,
        copied = merged.copied,
        sha256 = merged.sha256,
        "models merged"
    );
    for fetched in fetched {
        fetched.clean_up().await?;
    }
    let received = Received { sha256: merged.sha256, size_bytes: merged.size_bytes };
    Ok(Piece { name: how.name.clone(), path, received: Some(received) })
}

/// `None` when the task has other files than it says.
fn plan(how: &MergeTask, resolved: &[ResolvedFile], paths: &[PathBuf]) -> Option<MergePlan> {
    let source = |file: &ResolvedFile, path: &Path| MergeSource {
        path: path.to_owned(),
        name: file.name.clone(),
        sha256: file.sha256.clone(),
    };
    let mut sources: Vec<MergeSource> =
        resolved.iter().zip(paths).map(|(file, path)| source(file, path)).collect();
    let vae = if how.has_vae { Some(sources.pop()?) } else { None };
    let mut sources = sources.into_iter();
    let (a, b, c) = (sources.next()?, sources.next()?, sources.next());
    let method = match how.method {
        MergeMethod::WeightedSum => Method::WeightedSum,
        MergeMethod::AddDifference => Method::AddDifference,
        MergeMethod::Sigmoid => Method::Sigmoid,
        MergeMethod::InverseSigmoid => Method::InverseSigmoid,
    };
    let precision = match how.precision {
        MergePrecision::F16 => OutputPrecision::F16,
        MergePrecision::Bf16 => OutputPrecision::Bf16,
        MergePrecision::F32 => OutputPrecision::F32,
    };
    let plan = MergePlan {
        c,
        block_weights: how.block_weights.clone(),
        vae,
        precision: Some(precision),
        prune_ema: how.prune_ema,
        ..MergePlan::new(a, b, method, how.multiplier)
    };
    sources.next().is_none().then_some(plan)
}

#[cfg(test)]
mod tests {
    use super::super::origins::ResolvedPlace;
    use super::*;

    fn how(has_vae: bool) -> MergeTask {
        MergeTask {
            method: MergeMethod::AddDifference,
            multiplier: 0.25,
            block_weights: vec![0.5; 25],
            has_vae,
            precision: MergePrecision::Bf16,
            prune_ema: true,
            name: "m.safetensors".to_owned(),
        }
    }

    fn planned(names: &[&str], has_vae: bool) -> Option<MergePlan> {
        let file = |name: &&str| ResolvedFile {
            name: (*name).to_owned(),
            place: ResolvedPlace::Volume { path: PathBuf::new() },
            sha256: Some(format!("hash of {name}")),
            size_bytes: None,
        };
        let files: Vec<ResolvedFile> = names.iter().map(file).collect();
        let paths: Vec<PathBuf> = names.iter().map(|name| Path::new("/work").join(name)).collect();
        plan(&how(has_vae), &files, &paths)
    }

    #[test]
    fn the_files_are_taken_in_their_order() {
        let all = planned(&["a", "b", "c", "v"], true).unwrap();
        let name = |source: &Option<MergeSource>| source.as_ref().map(|source| source.name.clone());
        assert_eq!((all.a.name.as_str(), all.b.name.as_str()), ("a", "b"));
        assert_eq!((name(&all.c).as_deref(), name(&all.vae).as_deref()), (Some("c"), Some("v")));
        assert_eq!(
            (all.b.path.as_path(), all.b.sha256.as_deref()),
            (Path::new("/work/b"), Some("hash of b"))
        );
        assert_eq!((all.weight, all.precision, all.prune_ema), (0.25, Some(OutputPrecision::Bf16), true));
        let two = planned(&["a", "b"], false).unwrap();
        assert!(two.c.is_none() && two.vae.is_none());
        for (names, has_vae) in
            [(&["a"][..], false), (&["a", "b"][..], true), (&["a", "b", "c", "d"][..], false)]
        {
            assert_eq!(planned(names, has_vae), None, "{names:?}");
        }
    }
}
