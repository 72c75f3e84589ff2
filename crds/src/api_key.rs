//! ApiKey: what a key of the REST dialects may do. Only the hash of the key is stored.

use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::common::{Condition, LastFailure, ObjectRef, Time};
use crate::{rules, schema};

/// What a key stands for. The namespace of the ApiKey is the tenant.
#[derive(CustomResource, Clone, Debug, PartialEq, Serialize, Deserialize, KubeSchema)]
#[kube(
    group = "easel.dev",
    version = "v1alpha1",
    kind = "ApiKey",
    plural = "apikeys",
    shortname = "akey",
    category = "easel",
    namespaced,
    status = "ApiKeyStatus",
    derive = "PartialEq",
    doc = "A key of the REST APIs: its hash, what it may do, until when. The namespace is the tenant.",
    validation = rules::short_name(),
    validation = rules::label_name(),
    printcolumn(name = "Ready", type_ = "string", json_path = ".status.conditions[?(@.type==\"Ready\")].status"),
    printcolumn(name = "Reason", type_ = "string", json_path = ".status.conditions[?(@.type==\"Ready\")].reason"),
    printcolumn(name = "Endpoint", type_ = "string", json_path = ".spec.endpointRef.name"),
    printcolumn(name = "Scopes", type_ = "string", json_path = ".spec.scopes"),
    printcolumn(name = "Expires", type_ = "string", json_path = ".spec.expiresAt"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"),
    printcolumn(name = "Message", type_ = "string", priority = 1, json_path = ".status.conditions[?(@.type==\"Ready\")].message")
)]
#[serde(rename_all = "camelCase")]
pub struct ApiKeySpec {
    /// `keySha256` is the SHA-256 of the key as text, 64 lower-case hexadecimal digits. A new key is a new ApiKey.
    #[schemars(schema_with = "schema::sha256")]
    #[x_kube(
        validation = rules::sha256("keySha256"),
        validation = rules::not_the_empty_key(),
        validation = rules::immutable("keySha256")
    )]
    pub key_sha256: String,
    /// `description` tells people whose key it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 256))]
    pub description: Option<String>,
    /// `endpointRef` narrows the key to one Endpoint of the namespace; unset means all of them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub endpoint_ref: Option<ObjectRef>,
    /// `scopes` are the groups of calls that the key may make.
    #[serde(default = "default_scopes")]
    #[schemars(schema_with = "schema::set::<Scope, 1, 4>")]
    pub scopes: Vec<Scope>,
    /// `expiresAt` ends the key; unset means never.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<Time>,
    /// `quota` bounds what the key may use.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub quota: Option<Quota>,
    /// `suspend` refuses the key without deleting it.
    #[serde(default)]
    pub suspend: bool,
}

fn default_scopes() -> Vec<Scope> {
    vec![Scope::Inference]
}

/// A group of calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Scope {
    /// Generate pictures, read jobs and endpoints.
    Inference,
    /// Upload and list models.
    Models,
    /// Data sets and training.
    Training,
    /// Create, change and delete endpoints.
    Admin,
}

/// Limits of one key; an unset one does not bound.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = rules::quota_says_something())]
pub struct Quota {
    /// `requestsPerMinute` counts every call.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1_000_000))]
    pub requests_per_minute: Option<u32>,
    /// `concurrentJobs` counts jobs that are pending or running.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 100_000))]
    pub concurrent_jobs: Option<u32>,
    /// `picturesPerDay` counts pictures asked for since 00:00 UTC.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 100_000_000))]
    pub pictures_per_day: Option<u32>,
    /// `trainingJobs` counts TrainingJobs that have not ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1_000))]
    pub training_jobs: Option<u32>,
}

/// What is known about the use of a key.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ApiKeyStatus {
    /// `observedGeneration` is the generation of the spec that this status speaks of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// `conditions` by type: Ready, Stalled.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "schema::conditions")]
    pub conditions: Vec<Condition>,
    /// `lastUsedTime`, written at most once an hour.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_used_time: Option<Time>,
    /// `picturesToday` counts pictures asked for since 00:00 UTC.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pictures_today: Option<u32>,
    /// `lastFailure` is the last thing that went wrong.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_failure: Option<LastFailure>,
}
