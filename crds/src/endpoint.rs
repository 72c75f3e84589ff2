//! Endpoint: a pool of runtime pods that generate pictures.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::Toleration;
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use crate::endpoint_parts::*;
pub use crate::endpoint_status::*;

use crate::common::{Device, DeviceClaim, ObjectRef, Precision, Resources};
use crate::{rules, schema};

/// Which models, on what, how many.
#[derive(CustomResource, Clone, Debug, PartialEq, Serialize, Deserialize, KubeSchema)]
#[kube(
    group = "easel.dev",
    version = "v1alpha1",
    kind = "Endpoint",
    shortname = "eep",
    category = "easel",
    namespaced,
    status = "EndpointStatus",
    derive = "PartialEq",
    doc = "A pool of runtime pods that generate pictures with the Models it lists.",
    validation = rules::short_name(),
    validation = rules::label_name(),
    scale(
        spec_replicas_path = ".spec.replicas",
        status_replicas_path = ".status.replicas",
        label_selector_path = ".status.selector"
    ),
    printcolumn(name = "Ready", type_ = "string", json_path = ".status.conditions[?(@.type==\"Ready\")].status"),
    printcolumn(name = "Reason", type_ = "string", json_path = ".status.conditions[?(@.type==\"Ready\")].reason"),
    printcolumn(name = "Desired", type_ = "integer", json_path = ".spec.replicas"),
    printcolumn(name = "Available", type_ = "integer", json_path = ".status.readyReplicas"),
    printcolumn(name = "Pending", type_ = "integer", json_path = ".status.queue.pending"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"),
    printcolumn(name = "Models", type_ = "string", priority = 1, json_path = ".spec.models[*].name"),
    printcolumn(name = "Message", type_ = "string", priority = 1, json_path = ".status.conditions[?(@.type==\"Ready\")].message")
)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = rules::listed_needs_models(), validation = rules::instance_type_or_resources())]
pub struct EndpointSpec {
    /// `models` that every pod holds, loaded before it is ready; may be changed while pods run.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "schema::named::<ObjectRef, 0, 32>")]
    pub models: Vec<ObjectRef>,
    /// `modelPolicy` says which Models jobs may name: the listed ones, or any of the namespace.
    #[serde(default)]
    pub model_policy: ModelPolicy,
    /// `instanceType` is a name of the operator's catalogue, e.g. `ml.g5.2xlarge`; it stands for resources, device and node.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 63), regex(pattern = r"^[a-zA-Z0-9]([-._a-zA-Z0-9]*[a-zA-Z0-9])?$"))]
    pub instance_type: Option<String>,
    /// `resources` of a pod; not together with `instanceType`. Neither means the operator's default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resources: Option<Resources>,
    /// `resourceClaims` are devices by dynamic resource allocation; not together with `instanceType`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "schema::named::<DeviceClaim, 0, 8>")]
    pub resource_claims: Vec<DeviceClaim>,
    /// `nodeSelector` are labels that a node must carry, besides those of the instance type.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(schema_with = "schema::node_selector")]
    pub node_selector: BTreeMap<String, String>,
    /// `tolerations` of the pods, besides those of the instance type.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "schema::tolerations")]
    pub tolerations: Vec<Toleration>,
    /// `priorityClassName` of the pods.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::kubernetes_name")]
    pub priority_class_name: Option<String>,
    /// `device` that pods compute on; unset means that of the instance type, or Cpu.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub device: Option<Device>,
    /// `precision` that pods compute in; Auto means F16 on Cuda and F32 on Cpu.
    #[serde(default)]
    pub precision: Precision,
    /// `replicas` is the number of pods while `autoscaling` is unset.
    #[serde(default = "one")]
    #[schemars(range(min = 0, max = 1000))]
    pub replicas: i32,
    /// `autoscaling` lets the number of pods follow the queue.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub autoscaling: Option<Autoscaling>,
    /// `rollout` is how pods are replaced when the spec changes.
    #[serde(default)]
    pub rollout: Rollout,
    /// `output` is where pictures go; unset means Easel's object store.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub output: Option<Output>,
    /// `cache` of weights on the pod's disk.
    #[serde(default)]
    pub cache: Cache,
    /// `limits` of what a job may ask for.
    #[serde(default)]
    pub limits: Limits,
    /// `suspend` takes all pods away and keeps everything else; jobs wait.
    #[serde(default)]
    pub suspend: bool,
}

impl Default for EndpointSpec {
    /// What the API server makes of an empty spec (which needs a model to be accepted).
    fn default() -> Self {
        Self {
            models: Vec::new(),
            model_policy: ModelPolicy::Listed,
            instance_type: None,
            resources: None,
            resource_claims: Vec::new(),
            node_selector: BTreeMap::new(),
            tolerations: Vec::new(),
            priority_class_name: None,
            device: None,
            precision: Precision::Auto,
            replicas: 1,
            autoscaling: None,
            rollout: Rollout::default(),
            output: None,
            cache: Cache::default(),
            limits: Limits::default(),
            suspend: false,
        }
    }
}

fn one() -> i32 {
    1
}

/// Which Models jobs may name.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum ModelPolicy {
    /// Those in `models`.
    #[default]
    Listed,
    /// Any Model of the namespace; it is loaded when a job asks for it.
    Namespace,
}
