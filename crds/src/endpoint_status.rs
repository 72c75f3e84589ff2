//! What is known about an Endpoint.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::common::{Condition, LastFailure, Time};
use crate::schema;

/// Derived from what was applied and observed.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct EndpointStatus {
    /// `observedGeneration` is the generation of the spec that this status speaks of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// `conditions` by type: Ready, ModelsReady, Available, Reconciling, Stalled.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "schema::conditions")]
    pub conditions: Vec<Condition>,
    /// `replicas` is the number of pods that exist.
    #[serde(default)]
    #[schemars(range(min = 0))]
    pub replicas: i32,
    /// `readyReplicas` is the number of pods that can take jobs.
    #[serde(default)]
    #[schemars(range(min = 0))]
    pub ready_replicas: i32,
    /// `desiredReplicas` is the number of pods that spec and autoscaler ask for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0))]
    pub desired_replicas: Option<i32>,
    /// `selector` of the pods, for the scale subresource.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 512))]
    pub selector: Option<String>,
    /// `serviceName` of the pods' Service.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 63))]
    pub service_name: Option<String>,
    /// `queue` of jobs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub queue: Option<QueueStatus>,
    /// `activeModels` are held by every ready pod.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "schema::named::<ModelVersion, 0, 64>")]
    pub active_models: Vec<ModelVersion>,
    /// `targetModels` are what pods are moving to.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "schema::named::<ModelVersion, 0, 64>")]
    pub target_models: Vec<ModelVersion>,
    /// `models` that workers hold or are about to hold, as they report it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "schema::named::<ServedModel, 0, 64>")]
    pub models: Vec<ServedModel>,
    /// `scalingHistory`, newest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "schema::atomic::<ScalingEvent, 0, 16>")]
    pub scaling_history: Vec<ScalingEvent>,
    /// `performance` measured over the last jobs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub performance: Option<Performance>,
    /// `lastFailure` is the last thing that went wrong.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_failure: Option<LastFailure>,
}

/// Jobs of this Endpoint.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct QueueStatus {
    /// `pending` jobs wait for a worker.
    pub pending: u32,
    /// `running` jobs are held by a worker.
    pub running: u32,
    /// `oldestSeconds` is the age of the oldest pending job.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub oldest_seconds: Option<u64>,
}

/// A Model at the bytes it had.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ModelVersion {
    /// `name` of the Model.
    #[schemars(schema_with = "schema::object_name")]
    pub name: String,
    /// `sha256` of its first file.
    #[schemars(length(min = 64, max = 64))]
    pub sha256: String,
}

/// How far a Model is on its way into the workers' memory. Those that nobody holds any more are left out.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ServedModel {
    /// `name` of the Model.
    #[schemars(schema_with = "schema::object_name")]
    pub name: String,
    /// `state` in the worker where it is least far.
    pub state: ServedState,
    /// `loaded` is the number of workers that have it in memory.
    #[schemars(range(min = 0))]
    pub loaded: i32,
    /// `reason` of a failure, a CamelCase word.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 128))]
    pub reason: Option<String>,
    /// `message` of a failure.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 2048))]
    pub message: Option<String>,
}

/// State of a Model in the workers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
pub enum ServedState {
    /// A worker could not load it.
    Failed,
    /// Its bytes are on their way to a worker's disk.
    Downloading,
    /// Its bytes are being read into memory.
    Loading,
    /// Requests can use it at once.
    Loaded,
}

/// One change of the number of pods.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ScalingEvent {
    /// `time` of the decision.
    pub time: Time,
    /// `from` this number of pods.
    #[schemars(range(min = 0))]
    pub from: i32,
    /// `to` this number of pods.
    #[schemars(range(min = 0))]
    pub to: i32,
    /// `reason`, a CamelCase word.
    #[schemars(length(min = 1, max = 128))]
    pub reason: String,
}

/// Medians over the jobs of the last hour.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Performance {
    /// `milliSecondsPerStep` of the sampler.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub milli_seconds_per_step: Option<u64>,
    /// `milliSecondsPerJob` from claim to completion.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub milli_seconds_per_job: Option<u64>,
    /// `jobs` that were measured.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub jobs: Option<u32>,
}
