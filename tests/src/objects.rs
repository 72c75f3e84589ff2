//! Objects as a person writes and reads them: YAML in, JSON out, whatever their kind.

use anyhow::Context;
use kube::api::{Api, ApiResource, DynamicObject, GroupVersionKind, Patch, PatchParams};
use kube::{Client, ResourceExt};
use serde_json::Value;

/// An API for `kind` of `easel.dev/v1alpha1` in a namespace.
pub fn easel_api(client: &Client, namespace: &str, kind: &str) -> Api<DynamicObject> {
    let gvk = GroupVersionKind::gvk("easel.dev", "v1alpha1", kind);
    let resource = ApiResource::from_gvk_with_plural(&gvk, &plural(kind));
    Api::namespaced_with(client.clone(), namespace, &resource)
}

fn plural(kind: &str) -> String {
    format!("{}s", kind.to_lowercase())
}

/// Server-side applies one Easel object written in YAML.
///
/// # Errors
/// What the API server says.
pub async fn apply(client: &Client, namespace: &str, yaml: &str) -> anyhow::Result<DynamicObject> {
    let object: DynamicObject = serde_saphyr::from_str(yaml).context("manifest")?;
    let kind = object.types.clone().context("manifest has no kind")?.kind;
    let api = easel_api(client, namespace, &kind);
    let params = PatchParams::apply("easel-tests").force();
    Ok(api.patch(&object.name_any(), &params, &Patch::Apply(&object)).await?)
}

/// A condition of an object's status.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Condition {
    pub status: String,
    pub reason: String,
    pub message: String,
}

/// The condition of that type, or an empty one.
pub fn condition(object: &DynamicObject, kind: &str) -> Condition {
    let text = |value: &Value, key: &str| value[key].as_str().unwrap_or_default().to_owned();
    object.data["status"]["conditions"]
        .as_array()
        .and_then(|conditions| conditions.iter().find(|condition| condition["type"] == kind))
        .map(|found| Condition {
            status: text(found, "status"),
            reason: text(found, "reason"),
            message: text(found, "message"),
        })
        .unwrap_or_default()
}

/// `status.lastFailure`, or null.
pub fn last_failure(object: &DynamicObject) -> &Value {
    &object.data["status"]["lastFailure"]
}
