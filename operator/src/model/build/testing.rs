//! One fixture for the tests of this folder and its neighbours.

use easel_crds::Model;
use k8s_openapi::api::batch::v1::Job;
use serde_json::{Value, json};

use crate::endpoint::testing::settings;
use crate::model::{Plan, ValidModel, build};

/// A Model as the API server stores it, with this source (YAML).
pub(crate) fn model(source: &str) -> Model {
    let source: Value = serde_saphyr::from_str(source).unwrap();
    serde_json::from_value(json!({
        "apiVersion": "easel.dev/v1alpha1", "kind": "Model",
        "metadata": {"name": "m", "namespace": "tenant", "uid": "uid-1", "generation": 1},
        "spec": {"type": "Checkpoint", "source": source},
    }))
    .unwrap()
}

/// The Job of a round.
pub(crate) fn job(valid: &ValidModel, round: u32) -> Job {
    let plan = Plan::Run { job: format!("easel-import-m-{round}"), round, trouble: None };
    build(valid, &plan, &settings()).job.unwrap()
}
