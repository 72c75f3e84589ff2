//! The parts of an Endpoint's spec.

use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::common::SecretRef;
use crate::{rules, schema};

/// How the number of pods follows the queue.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = rules::min_max_replicas(), validation = rules::scale_to_zero_needs_zero())]
pub struct Autoscaling {
    /// `mode`: BuiltIn scales on the queue; External leaves `replicas` to an HPA or KEDA through the scale subresource.
    #[serde(default)]
    pub mode: AutoscalingMode,
    /// `minReplicas` that always run; 0 is allowed.
    #[serde(default = "one")]
    #[schemars(range(min = 0, max = 1000))]
    pub min_replicas: i32,
    /// `maxReplicas` that ever run.
    #[schemars(range(min = 1, max = 1000))]
    pub max_replicas: i32,
    /// `targetPendingPerReplica` is the number of waiting jobs that one pod should face.
    #[serde(default = "two")]
    #[schemars(range(min = 1, max = 1000))]
    pub target_pending_per_replica: i32,
    /// `scaleToZeroAfterSeconds` without any job takes the last pod away; unset keeps one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 30, max = 604_800))]
    pub scale_to_zero_after_seconds: Option<i32>,
    /// `scaleDownDelaySeconds` is how long a lower demand must last before pods are drained.
    #[serde(default = "five_minutes")]
    #[schemars(range(min = 0, max = 86_400))]
    pub scale_down_delay_seconds: i32,
    /// `schedules` raise or lower the bounds at given times; of several active ones the last in the list counts.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "schema::named::<ScalingSchedule, 0, 16>")]
    pub schedules: Vec<ScalingSchedule>,
}

fn one() -> i32 {
    1
}
fn two() -> i32 {
    2
}
fn five_minutes() -> i32 {
    300
}

/// Who decides the number of pods.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum AutoscalingMode {
    #[default]
    BuiltIn,
    External,
}

/// Bounds for a stretch of time.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = rules::min_max_replicas())]
pub struct ScalingSchedule {
    /// `name` tells schedules apart.
    #[schemars(schema_with = "schema::label_name")]
    pub name: String,
    /// `start` as five cron fields.
    #[schemars(length(min = 9, max = 64))]
    #[x_kube(validation = rules::cron("start"))]
    pub start: String,
    /// `durationMinutes` for which the bounds hold after each start.
    #[schemars(range(min = 1, max = 10_080))]
    pub duration_minutes: i32,
    /// `timeZone` of `start`, e.g. `Europe/Berlin`.
    #[serde(default = "utc")]
    #[schemars(length(min = 1, max = 64), regex(pattern = r"^[A-Za-z][-+_A-Za-z0-9/]*$"))]
    pub time_zone: String,
    /// `minReplicas` meanwhile.
    #[schemars(range(min = 0, max = 1000))]
    pub min_replicas: i32,
    /// `maxReplicas` meanwhile.
    #[schemars(range(min = 1, max = 1000))]
    pub max_replicas: i32,
}

fn utc() -> String {
    "UTC".into()
}

/// How pods are replaced.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = rules::rollout_can_move())]
pub struct Rollout {
    /// `strategy`: RollingUpdate keeps serving; Recreate stops all pods first, for nodes without room for one more.
    #[serde(default)]
    pub strategy: RolloutStrategy,
    /// `maxSurge` pods run above the wanted number meanwhile. Unused by Recreate.
    #[serde(default = "one")]
    #[schemars(range(min = 0, max = 100))]
    pub max_surge: i32,
    /// `maxUnavailable` pods may be missing meanwhile. Unused by Recreate.
    #[serde(default)]
    #[schemars(range(min = 0, max = 100))]
    pub max_unavailable: i32,
    /// `progressDeadlineSeconds` without progress mark the roll-out as failed.
    #[serde(default = "ten_minutes")]
    #[schemars(range(min = 10, max = 86_400))]
    pub progress_deadline_seconds: i32,
    /// `drainSeconds` that a pod gets to finish its running job.
    #[serde(default = "ten_minutes")]
    #[schemars(range(min = 0, max = 86_400))]
    pub drain_seconds: i32,
}

fn ten_minutes() -> i32 {
    600
}

impl Default for Rollout {
    fn default() -> Self {
        Self {
            strategy: RolloutStrategy::RollingUpdate,
            max_surge: one(),
            max_unavailable: 0,
            progress_deadline_seconds: ten_minutes(),
            drain_seconds: ten_minutes(),
        }
    }
}

/// Way of replacing pods.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum RolloutStrategy {
    #[default]
    RollingUpdate,
    Recreate,
}

/// Where pictures go.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct Output {
    /// `storeSecretRef` names a Secret with `endpoint`, `region`, `bucket`, `accessKeyId` and `secretAccessKey`; unset means Easel's object store.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub store_secret_ref: Option<SecretRef>,
    /// `directory` is put before the keys of the pictures.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 256))]
    #[x_kube(validation = rules::object_key("directory"))]
    pub directory: Option<String>,
    /// `publicUrl` under which the bucket is served to clients; unset means presigned URLs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 512))]
    #[x_kube(validation = rules::http_url("publicUrl"))]
    pub public_url: Option<String>,
    /// `acl` of the pictures' objects.
    #[serde(default)]
    pub acl: Acl,
}

/// Who may read a picture without a signed URL.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Acl {
    #[default]
    Private,
    PublicRead,
}

/// Weights on the pod's disk.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct Cache {
    /// `sizeLimit` of the cache; the least recently used weights go first.
    #[serde(default = "twenty_gi")]
    #[schemars(schema_with = "schema::quantity_text")]
    #[x_kube(validation = rules::positive_quantity("sizeLimit"))]
    pub size_limit: Quantity,
    /// `volume` that holds the cache and outlives the pods; unset means that each pod has its own on the node's disk.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub volume: Option<CacheVolume>,
}

/// A volume for the weights of several pods: what one has fetched, the others need not.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct CacheVolume {
    /// `claimName` of a PersistentVolumeClaim in this namespace that all pods can mount (ReadWriteMany, or on their one node), with file locks, writable for group 65532.
    #[schemars(schema_with = "schema::kubernetes_name")]
    pub claim_name: String,
}

fn twenty_gi() -> Quantity {
    Quantity("20Gi".into())
}

impl Default for Cache {
    fn default() -> Self {
        Self { size_limit: twenty_gi(), volume: None }
    }
}

/// What a job may ask for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct Limits {
    /// `maxPixels` is the largest width × height of a picture.
    #[schemars(range(min = 4096, max = 67_108_864))]
    pub max_pixels: u64,
    /// `maxSteps` of the sampler.
    #[schemars(range(min = 1, max = 1000))]
    pub max_steps: u32,
    /// `maxBatch` is the largest number of pictures of one job.
    #[schemars(range(min = 1, max = 256))]
    pub max_batch: u32,
    /// `timeoutSeconds` that one attempt of a job may take.
    #[schemars(range(min = 1, max = 86_400))]
    pub timeout_seconds: u32,
    /// `maxPending` jobs wait; a further one is refused.
    #[schemars(range(min = 1, max = 1_000_000))]
    pub max_pending: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self { max_pixels: 4_194_304, max_steps: 150, max_batch: 16, timeout_seconds: 600, max_pending: 1000 }
    }
}
