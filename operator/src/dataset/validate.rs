//! What of a Dataset has to be checked. Pure.

use easel_crds::Dataset;
use easel_crds::dataset::DatasetState;
use serde_json::{Value, json};

use crate::children::{Owner, sha256_hex};
use crate::error::Error;
use crate::labels::Component;

/// A Dataset, as far as its reconcile is concerned.
#[derive(Clone, Debug)]
pub struct ValidDataset {
    pub owner: Owner,
    pub enabled: bool,
    /// Might there be a picture for training? A list in the object store is read by the check.
    pub has_items: bool,
    /// Changes exactly when there is something new to look at.
    pub items_hash: String,
}

/// Looks at the spec.
///
/// # Errors
/// [`Error::Unstored`].
pub fn validate(dataset: &Dataset) -> Result<ValidDataset, Error> {
    let owner = Owner::of(dataset, Component::Dataset).ok_or(Error::Unstored)?;
    let spec = &dataset.spec;
    // Captions and media types change nothing about what is in the store.
    let items: Vec<Value> = spec
        .items
        .iter()
        .map(|item| {
            json!({"name": item.name, "key": item.key, "sha256": item.sha256, "sizeBytes": item.size_bytes,
                "state": item.state})
        })
        .collect();
    // The UID: the pictures of a Dataset that was made again may be others.
    let identity = json!({"uid": owner.uid, "datasetName": spec.dataset_name, "items": items,
        "manifest": spec.manifest});
    Ok(ValidDataset {
        enabled: spec.state == DatasetState::Enabled,
        has_items: spec.manifest.is_some()
            || spec.items.iter().any(|item| item.state == DatasetState::Enabled),
        items_hash: sha256_hex(identity.to_string().as_bytes()),
        owner,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dataset::build::testing::dataset;

    #[test]
    fn only_what_has_to_be_looked_at_anew_changes_the_hash() {
        let hash = |spec: &str| validate(&dataset(spec)).unwrap().items_hash;
        let plain = hash("{items: [{name: a.png}]}");
        for same in [
            "{items: [{name: a.png, caption: zorb}]}",
            "{items: [{name: a.png, mediaType: image/png}], description: d}",
            "{items: [{name: a.png}], state: Disabled}",
        ] {
            assert_eq!(hash(same), plain, "{same}");
        }
        let others = [
            "{items: [{name: b.png}]}".to_owned(),
            "{items: [{name: a.png, key: k}]}".to_owned(),
            format!("{{items: [{{name: a.png, sha256: {}}}]}}", "a".repeat(64)),
            "{items: [{name: a.png, state: Disabled}]}".to_owned(),
            format!("{{manifest: {{key: k, sha256: {}}}}}", "a".repeat(64)),
            format!("{{manifest: {{key: k, sha256: {}}}}}", "b".repeat(64)),
        ];
        let mut hashes: Vec<String> = others.iter().map(|spec| hash(spec)).collect();
        hashes.push(plain);
        hashes.sort();
        hashes.dedup();
        assert_eq!(hashes.len(), others.len() + 1);
    }

    #[test]
    fn a_set_without_any_picture_to_train_on_is_known_as_such() {
        let manifest = format!("{{manifest: {{key: k, sha256: {}}}}}", "a".repeat(64));
        let cases = [
            ("{}", false),
            ("{items: [{name: a.png, state: Disabled}]}", false),
            ("{items: [{name: a.png}]}", true),
            (manifest.as_str(), true),
        ];
        for (spec, want) in cases {
            assert_eq!(validate(&dataset(spec)).unwrap().has_items, want, "{spec}");
        }
    }
}
