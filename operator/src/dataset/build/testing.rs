//! One fixture for the tests of this folder and its neighbours.

use easel_crds::Dataset;
use k8s_openapi::api::batch::v1::Job;
use serde_json::{Value, json};

use crate::dataset::{Plan, ValidDataset, build};
use crate::endpoint::testing::settings;

/// Dataset `d` as the API server stores it, with this spec (YAML).
pub(crate) fn dataset(spec: &str) -> Dataset {
    let spec: Value = serde_saphyr::from_str(spec).unwrap();
    serde_json::from_value(json!({
        "apiVersion": "easel.dev/v1alpha1", "kind": "Dataset",
        "metadata": {"name": "d", "namespace": "tenant", "uid": "uid-1", "generation": 1},
        "spec": spec,
    }))
    .unwrap()
}

/// The Job of a round.
pub(crate) fn job(valid: &ValidDataset, round: u32) -> Job {
    let plan = Plan::Run { job: format!("easel-dataset-d-{round}"), round, trouble: None };
    build(valid, &plan, &settings()).job.unwrap()
}
