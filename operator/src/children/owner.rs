//! Whose an object is.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};
use kube::{Resource, ResourceExt};

use crate::labels::Component;

/// An Endpoint, Model, TrainingJob or Dataset as the owner of children.
#[derive(Clone, Debug)]
pub struct Owner {
    pub component: Component,
    pub namespace: String,
    pub name: String,
    pub uid: String,
    pub reference: OwnerReference,
}

/// What a live object is to an [`Owner`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ownership {
    /// It is controlled by this very object.
    Ours,
    /// It belonged to an object of the same kind and name that is gone, or is being deleted itself.
    Leaving,
    /// Somebody else's.
    Foreign,
}

impl Owner {
    /// `None` for an object that was never stored (no name, namespace or UID).
    pub fn of<K: Resource<DynamicType = ()>>(object: &K, component: Component) -> Option<Self> {
        Some(Self {
            component,
            namespace: object.namespace()?,
            name: object.meta().name.clone()?,
            uid: object.uid()?,
            reference: object.controller_owner_ref(&())?,
        })
    }

    /// Name of this owner's children.
    pub fn child_name(&self) -> String {
        self.component.child_name(&self.name)
    }

    /// Metadata of a child: name, namespace, labels and the owner.
    pub fn child_meta(&self, name: String) -> ObjectMeta {
        ObjectMeta {
            name: Some(name),
            namespace: Some(self.namespace.clone()),
            labels: Some(self.component.labels(&self.name)),
            owner_references: Some(vec![self.reference.clone()]),
            ..Default::default()
        }
    }

    /// Whose is this live object?
    pub fn relation(&self, meta: &ObjectMeta) -> Ownership {
        let controller = meta.owner_references.iter().flatten().find(|r| r.controller == Some(true));
        match controller {
            Some(reference) if reference.uid == self.uid && meta.deletion_timestamp.is_none() => {
                Ownership::Ours
            }
            Some(reference) if reference.kind == self.reference.kind && reference.name == self.name => {
                Ownership::Leaving
            }
            _ if meta.deletion_timestamp.is_some() => Ownership::Leaving,
            _ => Ownership::Foreign,
        }
    }
}

#[cfg(test)]
mod tests {
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
    use k8s_openapi::jiff::Timestamp;

    use super::*;

    fn reference(uid: &str, name: &str, controller: bool) -> OwnerReference {
        OwnerReference {
            api_version: "easel.dev/v1alpha1".into(),
            kind: "Endpoint".into(),
            name: name.into(),
            uid: uid.into(),
            controller: Some(controller),
            block_owner_deletion: None,
        }
    }

    #[test]
    fn only_the_uid_makes_an_object_ours() {
        let owner = Owner {
            component: Component::Endpoint,
            namespace: "a".into(),
            name: "demo".into(),
            uid: "new".into(),
            reference: reference("new", "demo", true),
        };
        let cases = [
            ("ours", vec![reference("new", "demo", true)], false, Ownership::Ours),
            ("ours, being deleted", vec![reference("new", "demo", true)], true, Ownership::Leaving),
            ("of the former demo", vec![reference("old", "demo", true)], false, Ownership::Leaving),
            ("of another Endpoint", vec![reference("x", "other", true)], false, Ownership::Foreign),
            ("owned, not controlled", vec![reference("new", "demo", false)], false, Ownership::Foreign),
            ("nobody's", vec![], false, Ownership::Foreign),
            ("nobody's, being deleted", vec![], true, Ownership::Leaving),
        ];
        for (name, references, deleted, want) in cases {
            let meta = ObjectMeta {
                owner_references: Some(references),
                deletion_timestamp: deleted.then_some(Time(Timestamp::UNIX_EPOCH)),
                ..Default::default()
            };
            assert_eq!(owner.relation(&meta), want, "{name}");
        }
    }
}
