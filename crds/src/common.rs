//! What several kinds share: references, failures, condition types, compute choices.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
pub use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{rules, schema};

/// API group of every kind.
pub const GROUP: &str = "easel.dev";
/// API version of every kind.
pub const VERSION: &str = "v1alpha1";
/// Longest name of an object: leaves room for the prefixes and suffixes of its children (63 characters).
pub const MAX_NAME: usize = 45;

/// Condition types, as kstatus and people read them.
pub mod condition {
    /// The object does what its spec asks.
    pub const READY: &str = "Ready";
    /// Work towards the spec goes on; absent or False otherwise.
    pub const RECONCILING: &str = "Reconciling";
    /// No progress without a change by a person.
    pub const STALLED: &str = "Stalled";
    /// Endpoint: every listed Model is Ready.
    pub const MODELS_READY: &str = "ModelsReady";
    /// Endpoint: at least one worker can take jobs.
    pub const AVAILABLE: &str = "Available";
    /// TrainingJob: held by `spec.suspend`, or by the queue that it waits in.
    pub const SUSPENDED: &str = "Suspended";
    /// TrainingJob: the output Model has been stored.
    pub const COMPLETE: &str = "Complete";
    /// TrainingJob: given up.
    pub const FAILED: &str = "Failed";
}

/// Annotation on a Model: when its upload was completed (RFC 3339). Set by the facade.
pub const UPLOAD_COMPLETED_ANNOTATION: &str = "easel.dev/upload-completed-at";

/// An object of ours in the same namespace.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
pub struct ObjectRef {
    /// `name` of the object.
    #[schemars(schema_with = "schema::object_name")]
    pub name: String,
}

impl ObjectRef {
    /// A reference to `name`.
    pub fn new(name: impl Into<String>) -> Self {
        Self { name: name.into() }
    }
}

/// An object of ours, of a kind that is not known beforehand.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
pub struct KindRef {
    /// `kind`, e.g. `Endpoint`.
    #[schemars(length(min = 1, max = 63))]
    pub kind: String,
    /// `name` of the object.
    #[schemars(schema_with = "schema::object_name")]
    pub name: String,
}

/// A Secret in the same namespace; the field that holds it says which keys are read.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct SecretRef {
    /// `name` of the Secret.
    #[schemars(schema_with = "schema::kubernetes_name")]
    pub name: String,
}

/// One value of a Secret in the same namespace.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct SecretKeyRef {
    /// `name` of the Secret.
    #[schemars(schema_with = "schema::kubernetes_name")]
    pub name: String,
    /// `key` in the Secret's data.
    #[schemars(length(min = 1, max = 253), regex(pattern = r"^[-._a-zA-Z0-9]+$"))]
    pub key: String,
}

/// The last thing that went wrong; kept after recovery until the next failure.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct LastFailure {
    /// `reason` is a stable CamelCase word.
    #[schemars(length(min = 1, max = 128))]
    pub reason: String,
    /// `message` says what failed, on what, and the remedy if there is one.
    #[schemars(length(max = 4096))]
    pub message: String,
    /// `retriable` tells whether trying again with the same spec makes sense.
    pub retriable: bool,
    /// `time` at which it was seen.
    pub time: Time,
    /// `pod` in which it happened.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 253))]
    pub pod: Option<String>,
    /// `exitCode` of the container.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exit_code: Option<i32>,
}

/// Kind of device that tensors live on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Device {
    Cpu,
    Cuda,
}

/// Number format of weights and activations.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Precision {
    #[default]
    Auto,
    F32,
    F16,
    Bf16,
}

/// CPU, memory and devices of a pod's main container.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Resources {
    /// `requests` are reserved by the scheduler.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(schema_with = "schema::resource_list")]
    pub requests: BTreeMap<String, Quantity>,
    /// `limits` are enforced; extended resources such as `nvidia.com/gpu` belong here.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(schema_with = "schema::resource_list")]
    pub limits: BTreeMap<String, Quantity>,
}

/// Devices by dynamic resource allocation (`resource.k8s.io`).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = rules::one_of_claim())]
pub struct DeviceClaim {
    /// `name` of the claim inside the pod.
    #[schemars(schema_with = "schema::label_name")]
    pub name: String,
    /// `resourceClaimName` names a ResourceClaim that all pods share.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::kubernetes_name")]
    pub resource_claim_name: Option<String>,
    /// `resourceClaimTemplateName` names a ResourceClaimTemplate; each pod gets a claim of its own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::kubernetes_name")]
    pub resource_claim_template_name: Option<String>,
}
