//! What Models, TrainingJobs and Datasets name.

use std::collections::HashSet;

use easel_crds::{Dataset, Model, TrainingJob};
use kube::ResourceExt;
use serde_json::Value;

use super::place::{FOLDERS, hash_key};
use crate::folders;
use crate::worker_api::upload_key;

/// What some objects name.
#[derive(Default)]
pub(super) struct References {
    pub models: u64,
    /// Of all kinds.
    pub objects: u64,
    keys: HashSet<String>,
    folders: HashSet<String>,
    namespaces: HashSet<String>,
}

/// One thing that an object names.
#[derive(Debug, PartialEq, Eq)]
enum Named {
    Key(String),
    /// Whatever belongs to the folder of a TrainingJob or of a Dataset.
    Folder(String),
    /// Perhaps any picture and any file of training of the namespace: what a manifest lists is not read here.
    Namespace(String),
}

/// The folder and the namespace that a key belongs to.
fn place_of(key: &str) -> Option<(&str, String)> {
    let training = folders::training_of(key).map(|(namespace, folder)| (namespace, folder.to_owned()));
    training.or_else(|| folders::dataset_of(key))
}

impl Named {
    fn covers(&self, key: &str) -> bool {
        match self {
            Self::Key(named) => named == key,
            Self::Folder(folder) => place_of(key).is_some_and(|(_, own)| own == *folder),
            Self::Namespace(namespace) => place_of(key).is_some_and(|(own, _)| own == namespace),
        }
    }
}

impl References {
    pub(super) fn add(&mut self, model: &Model) {
        self.models += 1;
        self.objects += 1;
        keys_of(model, &mut |key| {
            self.keys.insert(key);
        });
    }

    pub(super) fn add_training(&mut self, job: &TrainingJob) {
        self.objects += 1;
        of_training(job, &mut |named| self.insert(named));
    }

    pub(super) fn add_dataset(&mut self, dataset: &Dataset) {
        self.objects += 1;
        of_dataset(dataset, &mut |named| self.insert(named));
    }

    fn insert(&mut self, named: Named) {
        match named {
            Named::Key(key) => self.keys.insert(key),
            Named::Folder(folder) => self.folders.insert(folder),
            Named::Namespace(namespace) => self.namespaces.insert(namespace),
        };
    }

    pub(super) fn name(&self, key: &str) -> bool {
        self.keys.contains(key)
            || place_of(key).is_some_and(|(namespace, folder)| {
                self.folders.contains(&folder) || self.namespaces.contains(namespace)
            })
    }
}

/// Does the Model name this key?
pub(super) fn names(model: &Model, key: &str) -> bool {
    let mut found = false;
    keys_of(model, &mut |named| found |= named == key);
    found
}

/// Does the TrainingJob name this key?
pub(super) fn training_names(job: &TrainingJob, key: &str) -> bool {
    let mut found = false;
    of_training(job, &mut |named| found |= named.covers(key));
    found
}

/// Does the Dataset name this key?
pub(super) fn dataset_names(dataset: &Dataset, key: &str) -> bool {
    let mut found = false;
    of_dataset(dataset, &mut |named| found |= named.covers(key));
    found
}

/// The folder of its run, and its result.
fn of_training(job: &TrainingJob, found: &mut dyn FnMut(Named)) {
    let namespace = job.namespace().unwrap_or_default();
    let uid = job.uid().unwrap_or_default();
    found(Named::Folder(folders::training_folder(&namespace, &job.name_any(), &uid)));
    if let Some(result) = job.status.as_ref().and_then(|status| status.result.as_ref()) {
        found(Named::Key(result.key.clone()));
        hash(&result.sha256, &mut |key| found(Named::Key(key)));
    }
}

/// The folder of its pictures, whether they are listed or on their way, and the pictures that are elsewhere.
fn of_dataset(dataset: &Dataset, found: &mut dyn FnMut(Named)) {
    let namespace = dataset.namespace().unwrap_or_default();
    let name = dataset.spec.dataset_name.clone().unwrap_or_else(|| dataset.name_any());
    found(Named::Folder(folders::dataset_folder(&namespace, &name)));
    for key in dataset.spec.items.iter().filter_map(|item| item.key.clone()) {
        found(Named::Key(key));
    }
    if let Some(manifest) = &dataset.spec.manifest {
        found(Named::Key(manifest.key.clone()));
        found(Named::Namespace(namespace));
    }
}

/// Every key that the Model's files and its picture have, and every one that its source could lead to: files that are still
/// to be imported, and hashes that it expects.
fn keys_of(model: &Model, found: &mut dyn FnMut(String)) {
    for file in model.status.iter().flat_map(|status| &status.files) {
        found(file.key.clone());
        hash(&file.sha256, found);
    }
    if let Some(picture) = model.status.as_ref().and_then(|status| status.thumbnail.as_ref()) {
        found(picture.key.clone());
        hash(&picture.sha256, found);
    }
    let namespace = model.namespace().unwrap_or_default();
    for file in model.spec.source.upload.iter().flat_map(|upload| &upload.files) {
        if let Ok(key) = upload_key(&namespace, &model.name_any(), &file.name) {
            found(key.as_str().to_owned());
        }
    }
    // Whatever kind of source it is, now or later: what looks like a key or a hash is taken for one.
    let source = serde_json::to_value(&model.spec.source).unwrap_or_default();
    strings(&source, &mut |text| {
        hash(text, found);
        if FOLDERS.iter().any(|folder| text.starts_with(folder)) {
            found(text.to_owned());
        }
    });
}

fn hash(text: &str, found: &mut dyn FnMut(String)) {
    if let Ok(hash) = text.parse() {
        found(hash_key(&hash).as_str().to_owned());
    }
}

/// As deep as the schema allows, which is a few levels.
fn strings(value: &Value, found: &mut dyn FnMut(&str)) {
    match value {
        Value::String(text) => found(text),
        Value::Array(items) => items.iter().for_each(|item| strings(item, found)),
        Value::Object(fields) => fields.values().for_each(|field| strings(field, found)),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_model_names_its_files_and_what_its_source_leads_to() {
        let (stored, expected) = ("ab".repeat(32), "cd".repeat(32));
        let model = |source: Value, status: Value| -> Model {
            let object = json!({"apiVersion": "easel.dev/v1alpha1", "kind": "Model",
                "metadata": {"name": "m", "namespace": "team"},
                "spec": {"type": "Checkpoint", "source": source}, "status": status});
            serde_json::from_value(object).expect("a Model")
        };
        let files = json!({"files": [{"name": "a", "key": "import/a", "sha256": stored, "sizeBytes": 1}]});
        let shown = "ef".repeat(32);
        let picture = json!({"thumbnail": {"key": "import/p", "sha256": shown, "mediaType": "image/png",
            "sizeBytes": 1}});
        let upload = json!({"upload": {"files": [{"name": "a.safetensors"}]}});
        let http = json!({"http": {"url": "https://h/a", "sha256": expected}});
        let linked = json!({"objectStore": {"key": "models/team/other/upload/b"}});
        let cases = [
            (model(upload.clone(), files), vec![format!("models/sha256/{stored}"), "import/a".to_owned()]),
            (model(upload.clone(), picture), vec![format!("models/sha256/{shown}"), "import/p".to_owned()]),
            (model(upload, json!({})), vec!["models/team/m/upload/a.safetensors".to_owned()]),
            (model(http, json!({})), vec![format!("models/sha256/{expected}")]),
            (model(linked, json!({})), vec!["models/team/other/upload/b".to_owned()]),
        ];
        let mut all = References::default();
        for (model, want) in &cases {
            all.add(model);
            for key in want {
                assert!(names(model, key) && all.name(key), "{key}");
            }
            assert!(!names(model, "models/team/m/upload/b.safetensors"));
        }
        assert_eq!(all.models, 5);
    }

    #[test]
    fn training_and_datasets_name_their_folders() {
        let hash = "ab".repeat(32);
        let job: TrainingJob = serde_json::from_value(json!({"apiVersion": "easel.dev/v1alpha1",
            "kind": "TrainingJob", "metadata": {"name": "run", "namespace": "team", "uid": "0123456789"},
            "spec": {"method": "Lora", "baseModel": {"name": "b"}, "output": {"modelName": "o"},
                "concepts": [{"dataset": {"name": "set"}, "instancePrompt": "p"}], "hyperparameters": {"steps": 1}},
            "status": {"result": {"name": "o", "key": "k", "sha256": hash, "sizeBytes": 1}}}))
        .expect("a TrainingJob");
        let dataset = |name: &str, spec: Value| -> Dataset {
            serde_json::from_value(json!({"apiVersion": "easel.dev/v1alpha1", "kind": "Dataset",
                "metadata": {"name": name, "namespace": "team"}, "spec": spec}))
            .expect("a Dataset")
        };
        let plain = dataset(
            "set",
            json!({"datasetName": "My Set",
            "items": [{"name": "a.png"}, {"name": "b", "key": "dataset/team/other/b"}]}),
        );
        let listed = dataset("long", json!({"manifest": {"key": "lists/long.jsonl", "sha256": hash}}));
        let cases = [
            ("training/team/run/01234567/step-00000001/a.json", true, false, true),
            ("training/team/run/99999999/step-00000001/a.json", false, false, true),
            ("training/others/run/01234567/step-00000001/a.json", false, false, false),
            (&format!("models/sha256/{hash}"), true, false, false),
            ("dataset/team/My Set/new.png", false, true, true),
            ("dataset/team/My Set.report.jsonl", false, true, true),
            ("dataset/team/other/b", false, true, true),
            ("dataset/team/other/c", false, false, true),
            ("dataset/others/My Set/a.png", false, false, false),
            ("lists/long.jsonl", false, false, true),
        ];
        let mut all = References::default();
        all.add_training(&job);
        all.add_dataset(&plain);
        for (key, by_job, by_dataset, by_list) in cases {
            assert_eq!(training_names(&job, key), by_job, "{key}");
            assert_eq!(dataset_names(&plain, key), by_dataset, "{key}");
            assert_eq!(dataset_names(&listed, key), by_list, "{key}");
            assert_eq!(all.name(key), by_job || by_dataset, "{key}");
        }
        assert_eq!((all.models, all.objects), (0, 2));
    }
}
