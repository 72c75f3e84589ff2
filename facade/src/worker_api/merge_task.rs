//! What an importer is to merge: the files of other Models, and how. Pure.

use easel_protocol::import::{MergeTask, is_side_file};
use easel_store::objects::ObjectKey;

use super::error::WorkerError;
use super::import_task::{Place, Wanted};
use crate::catalog::{FileView, MergeView, ModelView};

/// The files in the order of [`MergeTask`]. `find` looks a Model of the same namespace up.
///
/// # Errors
/// [`WorkerError::NothingToImport`] when one of the Models is not Ready or is no single file.
pub(super) fn merge_task(
    model: &ModelView,
    merge: &MergeView,
    find: impl Fn(&str) -> Option<ModelView>,
) -> Result<(Vec<Wanted>, MergeTask), WorkerError> {
    let mut wanted = Vec::new();
    for name in merge.models.iter().chain(&merge.vae) {
        let input = find(name).filter(|input| input.ready.holds).ok_or_else(|| {
            let message = format!("Model {}/{name} is not Ready (yet)", model.namespace);
            WorkerError::NothingToImport { reason: "WaitingForModels", message }
        })?;
        wanted.push(single_file(&input)?);
    }
    let task = MergeTask {
        method: merge.method,
        multiplier: merge.multiplier,
        block_weights: merge.block_weights.clone(),
        has_vae: merge.vae.is_some(),
        precision: merge.precision,
        prune_ema: merge.prune_ema,
        name: format!("{}.safetensors", model.name),
    };
    Ok((wanted, task))
}

/// The one weight file of a Model, under the Model's name: several may have files of one name.
fn single_file(model: &ModelView) -> Result<Wanted, WorkerError> {
    let weights: Vec<&FileView> = model.files.iter().filter(|file| !is_side_file(&file.name)).collect();
    let [file] = weights.as_slice() else {
        let message = format!(
            "Model {}/{} has {} weight files; only checkpoints in a single file can be merged",
            model.namespace,
            model.name,
            weights.len()
        );
        return Err(WorkerError::NothingToImport { reason: "NotASingleFile", message });
    };
    let key: ObjectKey = file.key.parse().map_err(|_| {
        WorkerError::Input(format!("Model {} names an object key that is none: {:?}", model.name, file.key))
    })?;
    let extension = file.name.rsplit_once('.').map_or("safetensors", |(_, extension)| extension);
    let name = format!("{}.{extension}", model.name);
    Ok(Wanted { name, from: Place::Stored(key), sha256: Some(file.sha256.clone()) })
}

#[cfg(test)]
mod tests {
    use easel_protocol::import::{MergeMethod, MergePrecision};

    use super::*;
    use crate::catalog::{ConditionView, SourceView};

    fn model(name: &str, ready: bool, files: &[&str]) -> ModelView {
        let file = |file: &&str| FileView {
            name: (*file).into(),
            key: format!("models/sha256/{file}"),
            sha256: format!("hash of {name}"),
            size_bytes: 1,
        };
        ModelView {
            namespace: "team".into(),
            name: name.into(),
            uid: "u".into(),
            display_name: name.into(),
            model_type: "Checkpoint".into(),
            source: SourceView::Absent,
            ready: ConditionView { holds: ready, ..ConditionView::absent("") },
            files: files.iter().map(file).collect(),
            trigger_words: Vec::new(),
        }
    }

    fn merge(models: &[&str], vae: Option<&str>) -> MergeView {
        MergeView {
            models: models.iter().map(|name| (*name).to_owned()).collect(),
            vae: vae.map(str::to_owned),
            method: MergeMethod::WeightedSum,
            multiplier: 0.25,
            block_weights: Vec::new(),
            precision: MergePrecision::F16,
            prune_ema: true,
        }
    }

    #[test]
    fn the_files_come_in_order_under_their_models_names() {
        let all = [
            model("a", true, &["same.safetensors", "config.yaml"]),
            model("b", true, &["same.safetensors"]),
            model("fine", true, &["vae.ckpt"]),
        ];
        let find = |name: &str| all.iter().find(|model| model.name == name).cloned();
        let (files, task) =
            merge_task(&model("m", false, &[]), &merge(&["a", "b"], Some("fine")), find).expect("mergeable");
        let names: Vec<&str> = files.iter().map(|file| file.name.as_str()).collect();
        assert_eq!(names, ["a.safetensors", "b.safetensors", "fine.ckpt"]);
        assert_eq!(files[1].sha256.as_deref(), Some("hash of b"));
        assert_eq!((task.name.as_str(), task.has_vae, task.multiplier), ("m.safetensors", true, 0.25));
    }

    #[test]
    fn what_is_not_ready_or_not_one_file_is_named() {
        let all = [
            model("a", true, &["a.safetensors"]),
            model("late", false, &["a.safetensors"]),
            model("folder", true, &["unet.safetensors", "vae.safetensors"]),
        ];
        let find = |name: &str| all.iter().find(|model| model.name == name).cloned();
        for (second, want) in
            [("late", "WaitingForModels"), ("absent", "WaitingForModels"), ("folder", "NotASingleFile")]
        {
            let refused = merge_task(&model("m", false, &[]), &merge(&["a", second], None), find);
            let Err(WorkerError::NothingToImport { reason, message }) = refused else {
                panic!("{second}: {refused:?}")
            };
            assert!(reason == want && message.contains(second), "{second}: {reason}, {message}");
        }
    }
}
