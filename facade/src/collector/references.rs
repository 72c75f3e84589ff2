//! What Models name.

use std::collections::HashSet;

use easel_crds::Model;
use kube::ResourceExt;
use serde_json::Value;

use super::place::{FOLDER, hash_key};
use crate::worker_api::upload_key;

/// The keys that some Models name.
#[derive(Default)]
pub(super) struct References {
    pub models: u64,
    keys: HashSet<String>,
}

impl References {
    pub(super) fn add(&mut self, model: &Model) {
        self.models += 1;
        keys_of(model, &mut |key| {
            self.keys.insert(key);
        });
    }

    pub(super) fn name(&self, key: &str) -> bool {
        self.keys.contains(key)
    }
}

/// Does the Model name this key?
pub(super) fn names(model: &Model, key: &str) -> bool {
    let mut found = false;
    keys_of(model, &mut |named| found |= named == key);
    found
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
        if text.starts_with(FOLDER) {
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
}
