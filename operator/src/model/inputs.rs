//! The Models that a merge is made of: read, and judged.

use easel_crds::model::{MergeSource, ModelType, StoredFile};
use easel_crds::{Condition, Model};
use easel_protocol::import::is_side_file;
use futures::future::try_join_all;
use kube::Client;
use kube::api::Api;

use super::validate::InvalidModel;
use crate::children::Owner;
use crate::conditions::{READY, find};
use crate::error::Error;

/// One of them, as it stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Input {
    pub name: String,
    pub state: InputState,
}

/// May it be merged?
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum InputState {
    Ready,
    /// Why it is not Ready, in a word.
    NotReady(String),
    Missing,
    /// It is Ready, and nothing that can be merged.
    Unfit {
        model_type: &'static str,
        weight_files: usize,
    },
}

/// Reads the Models of a merge; none for any other source.
///
/// # Errors
/// [`Error::Read`].
pub async fn inputs(model: &Model, owner: &Owner, client: &Client) -> Result<Vec<Input>, Error> {
    let Some(merge) = &model.spec.source.merge else { return Ok(Vec::new()) };
    let api = Api::<Model>::namespaced(client.clone(), &owner.namespace);
    try_join_all(wanted(merge).map(|(name, is_vae)| {
        let api = api.clone();
        async move {
            let found = api
                .get_opt(name)
                .await
                .map_err(|source| Error::Read { what: format!("Model {name}"), source: source.into() })?;
            let state = found.map_or(InputState::Missing, |found| judge(&found, is_vae));
            Ok(Input { name: name.to_owned(), state })
        }
    }))
    .await
}

/// Names, and whether only the autoencoder is taken.
fn wanted(merge: &MergeSource) -> impl Iterator<Item = (&str, bool)> {
    let models = merge.models.iter().map(|model| (model.name.as_str(), false));
    models.chain(merge.vae.iter().map(|model| (model.name.as_str(), true)))
}

fn judge(model: &Model, is_vae: bool) -> InputState {
    let conditions: &[Condition] = model.status.as_ref().map_or(&[], |status| &status.conditions);
    match find(conditions, READY) {
        Some(ready) if ready.status == "True" => {}
        Some(ready) => return InputState::NotReady(ready.reason.clone()),
        None => return InputState::NotReady("Pending".to_owned()),
    }
    let files: &[StoredFile] = model.status.as_ref().map_or(&[], |status| &status.files);
    let weight_files = files.iter().filter(|file| !is_side_file(&file.name)).count();
    let model_type = model.spec.r#type;
    let fits = model_type == ModelType::Checkpoint || (is_vae && model_type == ModelType::Vae);
    match fits && weight_files == 1 {
        true => InputState::Ready,
        false => InputState::Unfit { model_type: model_type.as_str(), weight_files },
    }
}

/// What a merge waits for, as a sentence; nothing if all is there.
///
/// # Errors
/// [`InvalidModel::UnfitInput`]: waiting does not help.
pub fn waits_for(inputs: &[Input]) -> Result<Option<String>, InvalidModel> {
    let mut waits = Vec::new();
    for Input { name, state } in inputs {
        match state {
            InputState::Ready => {}
            InputState::NotReady(reason) => waits.push(format!("Model {name} is not Ready ({reason})")),
            InputState::Missing => waits.push(format!("Model {name} does not exist")),
            InputState::Unfit { model_type, weight_files } => {
                let (name, model_type, weight_files) = (name.clone(), *model_type, *weight_files);
                return Err(InvalidModel::UnfitInput { name, model_type, weight_files });
            }
        }
    }
    Ok((!waits.is_empty()).then(|| waits.join("; ")))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn model(model_type: &str, ready: &str, files: &[&str]) -> Model {
        let files: Vec<_> = files
            .iter()
            .map(|name| json!({"name": name, "key": "k", "sha256": "a".repeat(64), "sizeBytes": 1}))
            .collect();
        serde_json::from_value(json!({
            "apiVersion": "easel.dev/v1alpha1", "kind": "Model",
            "metadata": {"name": "m", "namespace": "tenant"},
            "spec": {"type": model_type, "source": {"objectStore": {"key": "k"}}},
            "status": {"files": files, "conditions": [{"type": "Ready", "status": ready, "reason": "Importing",
                "message": "", "lastTransitionTime": "2026-01-01T00:00:00Z"}]},
        }))
        .unwrap()
    }

    #[test]
    fn only_single_file_checkpoints_are_merged_and_an_autoencoder_may_come_alone() {
        let unfit = |model_type, weight_files| InputState::Unfit { model_type, weight_files };
        let cases = [
            (model("Checkpoint", "True", &["a.safetensors"]), false, InputState::Ready),
            (model("Checkpoint", "True", &["a.safetensors", "a.YAML"]), false, InputState::Ready),
            (model("Checkpoint", "False", &[]), false, InputState::NotReady("Importing".into())),
            (model("Checkpoint", "True", &["u.safetensors", "v.safetensors"]), false, unfit("Checkpoint", 2)),
            (model("Vae", "True", &["v.safetensors"]), false, unfit("Vae", 1)),
            (model("Vae", "True", &["v.safetensors"]), true, InputState::Ready),
            (model("Lora", "True", &["l.safetensors"]), true, unfit("Lora", 1)),
        ];
        for (model, is_vae, want) in cases {
            assert_eq!(judge(&model, is_vae), want);
        }
    }

    #[test]
    fn a_wait_names_every_model_and_why() {
        let input = |name: &str, state| Input { name: name.into(), state };
        assert_eq!(waits_for(&[input("a", InputState::Ready)]), Ok(None));
        let late = [input("a", InputState::NotReady("Importing".into())), input("b", InputState::Missing)];
        let want = "Model a is not Ready (Importing); Model b does not exist";
        assert_eq!(waits_for(&late).unwrap().as_deref(), Some(want));
        let unfit = InputState::Unfit { model_type: "Lora", weight_files: 1 };
        let error = waits_for(&[input("c", unfit)]).unwrap_err();
        assert_eq!(error.reason(), "UnfitInput");
        assert!(error.to_string().contains("Model c"), "{error}");
    }
}
