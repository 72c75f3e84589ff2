//! The objects that the tests start from, and where they are.

use serde_json::{Value, json};

use crate::api::Api;

pub const ENDPOINTS: &str = "apis/easel.dev/v1alpha1/namespaces/tenant/endpoints";
pub const MODELS: &str = "apis/easel.dev/v1alpha1/namespaces/tenant/models";
pub const TRAININGS: &str = "apis/easel.dev/v1alpha1/namespaces/tenant/trainingjobs";
pub const DATASETS: &str = "apis/easel.dev/v1alpha1/namespaces/tenant/datasets";
pub const DEPLOYMENTS: &str = "apis/apps/v1/namespaces/tenant/deployments";
pub const JOBS: &str = "apis/batch/v1/namespaces/tenant/jobs";
pub const CLAIMS: &str = "api/v1/namespaces/tenant/persistentvolumeclaims";
pub const PODS: &str = "api/v1/namespaces/tenant/pods";
pub const SERVICES: &str = "api/v1/namespaces/tenant/services";
pub const ACCOUNTS: &str = "api/v1/namespaces/tenant/serviceaccounts";
pub const EVENTS: &str = "apis/events.k8s.io/v1/namespaces/tenant/events";

/// Path of the object `name` of a collection.
pub fn at(collection: &str, name: &str) -> String {
    format!("{collection}/{name}")
}

/// A Model whose bytes are in the object store.
pub fn stored_model(name: &str) -> Value {
    model(name, &json!({"objectStore": {"key": format!("{name}.safetensors")}}))
}

pub fn model(name: &str, source: &Value) -> Value {
    json!({"apiVersion": "easel.dev/v1alpha1", "kind": "Model",
        "metadata": {"name": name, "namespace": "tenant"},
        "spec": {"type": "Checkpoint", "source": source}})
}

pub fn endpoint(name: &str, models: &[&str]) -> Value {
    let models: Vec<Value> = models.iter().map(|name| json!({"name": name})).collect();
    json!({"apiVersion": "easel.dev/v1alpha1", "kind": "Endpoint",
        "metadata": {"name": name, "namespace": "tenant"}, "spec": {"models": models}})
}

/// A TrainingJob of Dataset `d` whose result is Model `out`; the trainer of [`world`](crate::world) reads the number of
/// steps as an order.
pub fn training(name: &str, base: &str) -> Value {
    json!({"apiVersion": "easel.dev/v1alpha1", "kind": "TrainingJob",
        "metadata": {"name": name, "namespace": "tenant"},
        "spec": {"method": "Lora", "baseModel": {"name": base},
            "output": {"modelName": "out", "displayName": "out.safetensors"},
            "concepts": [{"dataset": {"name": "d"}, "instancePrompt": "p"}],
            "hyperparameters": {"steps": 1, "resolution": 512}}})
}

pub fn dataset(name: &str) -> Value {
    json!({"apiVersion": "easel.dev/v1alpha1", "kind": "Dataset",
        "metadata": {"name": name, "namespace": "tenant"},
        "spec": {"items": [{"name": "a.png"}, {"name": "b.png"}]}})
}

/// All that TrainingJob `t` needs, and itself.
pub fn model_dataset_and_training(api: &Api) {
    api.put(MODELS, stored_model("m"));
    api.put(DATASETS, dataset("d"));
    api.put(TRAININGS, training("t", "m"));
}

/// Model `m` and Endpoint `demo` that lists it.
pub fn model_and_endpoint(api: &Api) {
    api.put(MODELS, stored_model("m"));
    api.put(ENDPOINTS, endpoint("demo", &["m"]));
}

/// Status and reason of a condition.
pub fn condition(object: &Value, type_: &str) -> (String, String) {
    let conditions = object["status"]["conditions"].as_array().cloned().unwrap_or_default();
    let found = conditions.iter().find(|c| c["type"] == type_);
    let text = |field: &str| found.and_then(|c| c[field].as_str()).unwrap_or("absent").to_owned();
    (text("status"), text("reason"))
}

/// [`condition`] as `Type=Status:Reason`, for comparisons.
pub fn ready(object: &Value) -> String {
    let (status, reason) = condition(object, "Ready");
    format!("{status}:{reason}")
}
