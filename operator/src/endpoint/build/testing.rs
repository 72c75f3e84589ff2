//! One fixture for the tests of this folder and its neighbours.

use easel_crds::Endpoint;
use serde_json::{Value, json};

use crate::catalogue::Catalogue;
use crate::context::Settings;
use crate::endpoint::{ValidEndpoint, validate};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;

/// An Endpoint as the API server stores it, with these fields of its spec (YAML).
pub(crate) fn endpoint_from(spec: &str) -> Endpoint {
    let mut fields = json!({"models": [{"name": "m"}]});
    let given: Value = serde_saphyr::from_str(spec).unwrap();
    fields.as_object_mut().unwrap().extend(given.as_object().unwrap().clone());
    serde_json::from_value(json!({
        "apiVersion": "easel.dev/v1alpha1", "kind": "Endpoint",
        "metadata": {"name": "demo", "namespace": "tenant", "uid": "uid-1", "generation": 1},
        "spec": fields,
    }))
    .unwrap()
}

pub(crate) fn endpoint() -> Endpoint {
    endpoint_from("{}")
}

pub(crate) fn settings() -> Settings {
    Settings {
        runtime_image: "runtime:1".into(),
        runtime_image_cuda: "runtime-cuda:1".into(),
        image_pull_policy: "IfNotPresent",
        facade_url: "http://easel-facade.easel.svc:8081".into(),
        namespace: "easel".into(),
        allowed_cidrs: vec!["10.0.0.0/8".into()],
        worker_egress: Vec::new(),
        import_work_limit: Quantity("64Gi".into()),
        import_volume: None,
        import_deadline_seconds: 21_600,
        training_work_limit: Quantity("80Gi".into()),
        check_work_limit: Quantity("5Gi".into()),
        check_deadline_seconds: 3600,
        catalogue: Catalogue::load(None).unwrap(),
    }
}

pub(crate) fn valid(spec: &str) -> ValidEndpoint {
    validate(&endpoint_from(spec), &settings().catalogue).unwrap()
}
