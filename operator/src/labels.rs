//! Names, labels and annotations of what the operator makes. Selectors never change, so these are API.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;

/// Field manager of every write, and the name that events are reported under.
pub const FIELD_MANAGER: &str = "easel-operator";
/// Prefix of our own labels and annotations.
pub const GROUP: &str = "easel.dev";

pub const NAME: &str = "app.kubernetes.io/name";
pub const INSTANCE: &str = "app.kubernetes.io/instance";
pub const COMPONENT: &str = "app.kubernetes.io/component";
pub const MANAGED_BY: &str = "app.kubernetes.io/managed-by";
/// Which Endpoint an object belongs to.
pub const ENDPOINT: &str = "easel.dev/endpoint";
/// Which Model an object belongs to.
pub const MODEL: &str = "easel.dev/model";
/// Which TrainingJob an object belongs to; on the Model that came out, which one made it.
pub const TRAINING_JOB: &str = "easel.dev/training-job";
/// Which Dataset an object belongs to.
pub const DATASET: &str = "easel.dev/dataset";
/// The queue of Kueue that a Job waits in (Kueue's own label).
pub const QUEUE_NAME: &str = "kueue.x-k8s.io/queue-name";

/// Finalizer of a Model that something uses.
pub const MODEL_FINALIZER: &str = "easel.dev/model-bytes";

/// Fingerprint of a child as it was last applied.
pub const APPLIED_HASH: &str = "easel.dev/applied-hash";
/// Fingerprint of a pod template, so that pods of an older one can be told apart.
pub const TEMPLATE_HASH: &str = "easel.dev/template-hash";
/// Hash of the source that an import Job works on.
pub const SOURCE_HASH: &str = "easel.dev/source-hash";
/// Which Job in a row for the same source, from 1.
pub const IMPORT_ROUND: &str = "easel.dev/import-round";
/// Generation of the TrainingJob with which a round began; its Job carries it.
pub const TRAINING_ROUND: &str = "easel.dev/training-round";
/// Attempts that were made before a training Job.
pub const ATTEMPTS_BEFORE: &str = "easel.dev/attempts-before";
/// Hash of the items that a check Job looks at.
pub const ITEMS_HASH: &str = "easel.dev/items-hash";
/// Which check in a row of the same items, from 1.
pub const CHECK_ROUND: &str = "easel.dev/check-round";
/// Set on a Model when its upload is complete (by the facade); a new value starts a new import.
pub const UPLOAD_COMPLETED_AT: &str = "easel.dev/upload-completed-at";

/// What a set of children is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Component {
    Endpoint,
    Import,
    Train,
    Dataset,
}

impl Component {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Endpoint => "endpoint",
            Self::Import => "import",
            Self::Train => "train",
            Self::Dataset => "dataset",
        }
    }

    /// The label that names the owner.
    pub fn owner_label(self) -> &'static str {
        match self {
            Self::Endpoint => ENDPOINT,
            Self::Import => MODEL,
            Self::Train => TRAINING_JOB,
            Self::Dataset => DATASET,
        }
    }

    /// Name of the children of `owner`; it is also the ServiceAccount that a worker is known by.
    pub fn child_name(self, owner: &str) -> String {
        format!("easel-{}-{owner}", self.as_str())
    }

    /// Labels of the children of `owner`.
    pub fn labels(self, owner: &str) -> BTreeMap<String, String> {
        [
            (NAME, "easel-runtime"),
            (INSTANCE, owner),
            (COMPONENT, self.as_str()),
            (MANAGED_BY, "easel"),
            (self.owner_label(), owner),
        ]
        .map(|(key, value)| (key.to_owned(), value.to_owned()))
        .into()
    }

    /// The two labels that pods of `owner` are selected by.
    pub fn selector_labels(self, owner: &str) -> BTreeMap<String, String> {
        [(COMPONENT, self.as_str()), (self.owner_label(), owner)]
            .map(|(key, value)| (key.to_owned(), value.to_owned()))
            .into()
    }

    /// [`Self::selector_labels`] as a selector.
    pub fn selector(self, owner: &str) -> LabelSelector {
        LabelSelector { match_labels: Some(self.selector_labels(owner)), ..Default::default() }
    }

    /// [`Self::selector_labels`] as it stands in a query or in `status.selector`.
    pub fn selector_text(self, owner: &str) -> String {
        let pairs: Vec<String> =
            self.selector_labels(owner).into_iter().map(|(key, value)| format!("{key}={value}")).collect();
        pairs.join(",")
    }

    /// Selects the children of every owner.
    pub fn all_text(self) -> String {
        format!("{MANAGED_BY}=easel,{COMPONENT}={}", self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_and_selectors_agree() {
        let labels = Component::Endpoint.labels("demo");
        for (key, value) in Component::Endpoint.selector_labels("demo") {
            assert_eq!(labels.get(&key), Some(&value), "{key}");
        }
        assert_eq!(
            Component::Import.selector_text("m"),
            "app.kubernetes.io/component=import,easel.dev/model=m"
        );
        assert_eq!(Component::Endpoint.child_name("demo"), "easel-endpoint-demo");
    }

    #[test]
    fn the_longest_name_still_fits_a_label() {
        let longest = "n".repeat(45);
        for component in [Component::Endpoint, Component::Import, Component::Train, Component::Dataset] {
            assert!(component.child_name(&longest).len() <= 63);
        }
    }
}
