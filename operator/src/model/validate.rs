//! Which source a Model has, and whether it can be imported. Pure.

use easel_crds::Model;
use easel_crds::common::UPLOAD_COMPLETED_ANNOTATION;
use easel_crds::model::ModelSource;
use kube::ResourceExt;
use serde_json::json;

use crate::children::{Owner, sha256_hex};
use crate::error::Error;
use crate::jobs::job_name;
use crate::labels::Component;

/// A spec that cannot be imported.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidModel {
    #[error(
        "spec.source names no source; set one of upload, objectStore, s3, http, huggingFace, civitai, volume, merge and \
         trainingJob"
    )]
    NoSource,
    #[error(
        "Model {name} cannot be merged: it is of type {model_type} with {weight_files} weight files; single-file \
         checkpoints can be merged, and a Vae in the place of theirs"
    )]
    UnfitInput { name: String, model_type: &'static str, weight_files: usize },
}

impl InvalidModel {
    /// Stable CamelCase word.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::NoSource => "NoSource",
            Self::UnfitInput { .. } => "UnfitInput",
        }
    }
}

/// A Model that can be imported.
#[derive(Clone, Debug)]
pub struct ValidModel {
    pub owner: Owner,
    /// Changes exactly when there is something new to import.
    pub source_hash: String,
    /// Name of the PersistentVolumeClaim that the files are on.
    pub volume_claim: Option<String>,
    /// Its files are still to be sent.
    pub awaits_upload: bool,
    /// Its training has no result; the sentence says why.
    pub awaits_training: Option<String>,
    pub suspended: bool,
}

impl ValidModel {
    /// Name of the volume that an import of this source works on, if it has one of its own.
    pub fn work_volume_name(&self) -> String {
        job_name(&self.owner, &self.source_hash)
    }
}

/// Checks a Model.
///
/// # Errors
/// [`Error::Model`]; [`Error::Unstored`].
pub fn validate(model: &Model) -> Result<ValidModel, Error> {
    let owner = Owner::of(model, Component::Import).ok_or(Error::Unstored)?;
    let source = &model.spec.source;
    importable(source)?;
    let completed_at =
        source.upload.as_ref().and_then(|_| model.annotations().get(UPLOAD_COMPLETED_ANNOTATION));
    // The UID: a Model that was made again is imported again, its predecessor's Jobs are not its own.
    let identity = json!({
        "uid": owner.uid, "type": model.spec.r#type, "source": source, "completedAt": completed_at,
    });
    Ok(ValidModel {
        source_hash: sha256_hex(identity.to_string().as_bytes()),
        volume_claim: source.volume.as_ref().map(|volume| volume.claim_name.clone()),
        awaits_upload: source.upload.is_some() && completed_at.is_none(),
        awaits_training: None,
        suspended: model.spec.suspend,
        owner,
    })
}

/// Is it one of the sources that the importer knows? Taken apart whole, so that a new source has to be
/// thought of here.
fn importable(source: &ModelSource) -> Result<(), InvalidModel> {
    let ModelSource { upload, object_store, http, s3, hugging_face, civitai, volume, merge, training_job } =
        source;
    let known = [
        upload.is_some(),
        object_store.is_some(),
        http.is_some(),
        s3.is_some(),
        hugging_face.is_some(),
        civitai.is_some(),
        volume.is_some(),
        merge.is_some(),
        training_job.is_some(),
    ];
    if known.contains(&true) { Ok(()) } else { Err(InvalidModel::NoSource) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::build::testing::model;

    const UPLOAD: &str = "{upload: {files: [{name: a.safetensors}]}}";

    #[test]
    fn a_model_without_a_source_says_so() {
        let error = validate(&model("{}")).expect_err("no source");
        assert_eq!((error.reason(), error.retriable()), ("NoSource", false));
    }

    #[test]
    fn every_example_can_be_imported() {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../examples/models");
        let mut models = 0;
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let text = std::fs::read_to_string(&path).unwrap();
            for document in text.split("\n---\n").filter(|document| document.contains("kind: Model\n")) {
                let mut example: Model = serde_saphyr::from_str(document).unwrap();
                example.metadata.namespace = Some("tenant".into());
                example.metadata.uid = Some("uid".into());
                validate(&example).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
                models += 1;
            }
        }
        assert_eq!(models, 8);
    }

    #[test]
    fn sources_that_are_fetched_or_computed_can_be_imported() {
        for source in [
            UPLOAD,
            "{objectStore: {key: k}}",
            "{s3: {bucket: abc, key: k}}",
            "{http: {url: \"https://a/b\"}}",
            "{huggingFace: {repository: a/b}}",
            "{civitai: {modelVersionId: 1}}",
            "{merge: {method: WeightedSum, models: [{name: a}, {name: b}]}}",
            "{trainingJob: {name: a}}",
        ] {
            assert_eq!(validate(&model(source)).expect(source).volume_claim, None);
        }
        let volume = validate(&model("{volume: {claimName: weights, path: a}}")).expect("a volume");
        assert_eq!(volume.volume_claim.as_deref(), Some("weights"));
    }

    #[test]
    fn only_what_has_to_be_imported_anew_changes_the_hash() {
        let hash = |model: &Model| validate(model).unwrap().source_hash;
        let plain = model("{http: {url: \"https://a/b\"}}");
        let mut renamed = plain.clone();
        renamed.spec.display_name = Some("other".into());
        renamed.spec.suspend = true;
        renamed.annotations_mut().insert(UPLOAD_COMPLETED_ANNOTATION.into(), "now".into());
        assert_eq!(hash(&plain), hash(&renamed));
        let mut made_again = plain.clone();
        made_again.metadata.uid = Some("other".into());
        for other in [model("{http: {url: \"https://a/c\"}}"), model(UPLOAD), made_again] {
            assert_ne!(hash(&plain), hash(&other));
        }
    }

    #[test]
    fn an_upload_waits_for_its_signal_and_each_signal_is_a_new_source() {
        let waiting = model(UPLOAD);
        let before = validate(&waiting).unwrap();
        assert!(before.awaits_upload);
        let mut hashes = vec![before.source_hash];
        for at in ["2026-01-01T00:00:00Z", "2026-01-02T00:00:00Z"] {
            let mut complete = waiting.clone();
            complete.annotations_mut().insert(UPLOAD_COMPLETED_ANNOTATION.into(), at.into());
            let valid = validate(&complete).unwrap();
            assert!(!valid.awaits_upload);
            hashes.push(valid.source_hash);
        }
        hashes.sort();
        hashes.dedup();
        assert_eq!(hashes.len(), 3);
    }
}
