//! One fixture for the tests of this folder and its neighbours.

use easel_crds::TrainingJob;
use k8s_openapi::api::batch::v1::Job;
use serde_json::{Value, json};

use super::job;
use crate::endpoint::testing::settings;
use crate::training::{ValidTraining, validate};

/// TrainingJob `t` as the API server stores it, with these fields of its spec (YAML).
pub(crate) fn training(spec: &str) -> TrainingJob {
    let mut fields = json!({"method": "Lora", "baseModel": {"name": "m"}, "output": {"modelName": "out"},
        "concepts": [{"dataset": {"name": "d"}, "instancePrompt": "p"}],
        "hyperparameters": {"steps": 1, "resolution": 512}});
    let given: Value = serde_saphyr::from_str(spec).unwrap();
    fields.as_object_mut().unwrap().extend(given.as_object().unwrap().clone());
    serde_json::from_value(json!({
        "apiVersion": "easel.dev/v1alpha1", "kind": "TrainingJob",
        "metadata": {"name": "t", "namespace": "tenant", "uid": "uid-1", "generation": 1},
        "spec": fields,
    }))
    .unwrap()
}

pub(crate) fn valid(spec: &str) -> ValidTraining {
    validate(&training(spec), &settings().catalogue).unwrap()
}

/// Its Job.
pub(crate) fn job(spec: &str) -> Job {
    let valid = valid(spec);
    job::build(&valid, "easel-train-t-1", job::template(&valid, &settings()), 0)
}
