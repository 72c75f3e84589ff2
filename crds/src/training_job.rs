//! TrainingJob: one training run, whose result is a Model.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::Toleration;
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use crate::training_parts::*;

use crate::common::{Condition, Device, DeviceClaim, LastFailure, ObjectRef, Resources, Time};
use crate::model::StoredFile;
use crate::{rules, schema};

/// What is trained, on what, how.
#[derive(CustomResource, Clone, Debug, PartialEq, Serialize, Deserialize, KubeSchema)]
#[kube(
    group = "easel.dev",
    version = "v1alpha1",
    kind = "TrainingJob",
    shortname = "tj",
    category = "easel",
    namespaced,
    status = "TrainingJobStatus",
    derive = "PartialEq",
    doc = "One training run. It becomes a batch/v1 Job; the result is a Model.",
    validation = rules::short_name(),
    validation = rules::label_name(),
    printcolumn(name = "Method", type_ = "string", json_path = ".spec.method"),
    printcolumn(name = "Ready", type_ = "string", json_path = ".status.conditions[?(@.type==\"Ready\")].status"),
    printcolumn(name = "Reason", type_ = "string", json_path = ".status.conditions[?(@.type==\"Ready\")].reason"),
    printcolumn(name = "Step", type_ = "integer", json_path = ".status.step"),
    printcolumn(name = "Of", type_ = "integer", json_path = ".status.totalSteps"),
    printcolumn(name = "Loss", type_ = "string", json_path = ".status.loss"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"),
    printcolumn(name = "Model", type_ = "string", priority = 1, json_path = ".spec.output.modelName"),
    printcolumn(name = "Message", type_ = "string", priority = 1, json_path = ".status.conditions[?(@.type==\"Ready\")].message")
)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = rules::method_block("lora", "Lora"),
    validation = rules::method_block("textualInversion", "TextualInversion"),
    validation = rules::method_block("hypernetwork", "Hypernetwork"),
    validation = rules::textual_inversion_needs_token(),
    validation = rules::instance_type_or_resources(),
    validation = rules::fixed_while_running("concepts"),
    validation = rules::fixed_while_running("hyperparameters")
)]
pub struct TrainingJobSpec {
    /// `method` of training.
    #[x_kube(validation = rules::immutable("method"))]
    pub method: TrainingMethod,
    /// `baseModel` is the Checkpoint that training starts from.
    #[x_kube(validation = rules::immutable("baseModel"))]
    pub base_model: ObjectRef,
    /// `concepts` that are taught, each with its pictures.
    #[schemars(schema_with = "schema::atomic::<Concept, 1, 8>")]
    pub concepts: Vec<Concept>,
    /// `output` is what becomes of the result.
    pub output: TrainingOutput,
    /// `hyperparameters` of the optimisation.
    pub hyperparameters: Hyperparameters,
    /// `lora` sets the shape of the adapter; for method Lora.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lora: Option<LoraParameters>,
    /// `textualInversion` says which token is learned; for method TextualInversion.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub textual_inversion: Option<TextualInversionParameters>,
    /// `hypernetwork` sets the shape of the networks; for method Hypernetwork.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hypernetwork: Option<HypernetworkParameters>,
    /// `checkpoints` are states from which a killed run goes on.
    #[serde(default)]
    pub checkpoints: Checkpoints,
    /// `samples` are pictures made along the way.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub samples: Option<Samples>,
    /// `instanceType` is a name of the operator's catalogue; it stands for resources, device and node.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 63), regex(pattern = r"^[a-zA-Z0-9]([-._a-zA-Z0-9]*[a-zA-Z0-9])?$"))]
    pub instance_type: Option<String>,
    /// `resources` of the pod; not together with `instanceType`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resources: Option<Resources>,
    /// `resourceClaims` are devices by dynamic resource allocation; not together with `instanceType`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "schema::named::<DeviceClaim, 0, 8>")]
    pub resource_claims: Vec<DeviceClaim>,
    /// `nodeSelector` are labels that the node must carry.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(schema_with = "schema::node_selector")]
    pub node_selector: BTreeMap<String, String>,
    /// `tolerations` of the pod.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "schema::tolerations")]
    pub tolerations: Vec<Toleration>,
    /// `priorityClassName` of the pod.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::kubernetes_name")]
    pub priority_class_name: Option<String>,
    /// `device` to compute on; unset means that of the instance type, or Cpu.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub device: Option<Device>,
    /// `queueName` of Kueue, put on the Job as its queue label.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::label_name")]
    pub queue_name: Option<String>,
    /// `timeoutSeconds` that the whole run may take.
    #[serde(default = "two_days")]
    #[schemars(range(min = 60, max = 2_592_000))]
    pub timeout_seconds: u32,
    /// `retries` after failures that may pass; each goes on from the last checkpoint.
    #[serde(default = "three")]
    #[schemars(range(min = 0, max = 20))]
    pub retries: u32,
    /// `ttlSecondsAfterFinished` until the Job and its pods are deleted; the TrainingJob and the Model stay.
    #[serde(default = "one_day")]
    #[schemars(range(min = 0, max = 2_592_000))]
    pub ttl_seconds_after_finished: u32,
    /// `suspend` holds the run: it starts, or goes on from the last checkpoint, when this is false.
    #[serde(default)]
    pub suspend: bool,
}

fn two_days() -> u32 {
    172_800
}
fn one_day() -> u32 {
    86_400
}
fn three() -> u32 {
    3
}

/// Way of training.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum TrainingMethod {
    Lora,
    DreamBooth,
    TextualInversion,
    Hypernetwork,
    FullFineTune,
}

/// How far the run is.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct TrainingJobStatus {
    /// `observedGeneration` is the generation of the spec that this status speaks of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// `conditions` by type: Ready, Suspended, Complete, Failed, Reconciling, Stalled.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "schema::conditions")]
    pub conditions: Vec<Condition>,
    /// `job` that runs it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 253))]
    pub job: Option<String>,
    /// `stage` that runs: Downloading, ClassPictures, Encoding, Training, Storing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 32))]
    pub stage: Option<String>,
    /// `stageDone` of `stageTotal`: files, pictures or bytes of a stage other than Training.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stage_done: Option<u64>,
    /// `stageTotal` of the stage.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stage_total: Option<u64>,
    /// `step` of the optimiser that was finished last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub step: Option<u32>,
    /// `totalSteps` that the run takes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub total_steps: Option<u32>,
    /// `epoch` that runs, from 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub epoch: Option<u32>,
    /// `loss`, smoothed over the last steps, as a decimal.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::decimal")]
    pub loss: Option<String>,
    /// `milliSecondsPerStep` over the last steps.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub milli_seconds_per_step: Option<u64>,
    /// `etaSeconds` until the last step at this rate.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub eta_seconds: Option<u64>,
    /// `startTime` of the first attempt.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub start_time: Option<Time>,
    /// `completionTime` of the run, failed or not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub completion_time: Option<Time>,
    /// `attempts` made: those that failed, and the one that runs or ran last. What was suspended, drained or ended by a
    /// signal goes on without counting.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attempts: Option<u32>,
    /// `checkpoint` from which a new attempt would go on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub checkpoint: Option<StoredCheckpoint>,
    /// `samples` in the object store, newest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "schema::atomic::<SamplePicture, 0, 32>")]
    pub samples: Vec<SamplePicture>,
    /// `result` is the file that came out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub result: Option<StoredFile>,
    /// `losses` is the key of the loss of each step, as CSV.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 1024))]
    pub losses: Option<String>,
    /// `outputModel` that was made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub output_model: Option<ObjectRef>,
    /// `lastFailure` is the last thing that went wrong.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_failure: Option<LastFailure>,
}

/// A resumable state in the object store.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct StoredCheckpoint {
    /// `step` after which it was written.
    pub step: u32,
    /// `key` in the object store.
    #[schemars(length(min = 1, max = 1024))]
    pub key: String,
    /// `time` at which it was written.
    pub time: Time,
}

/// A picture made along the way.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct SamplePicture {
    /// `step` after which it was made.
    pub step: u32,
    /// `prompt` it was made from.
    #[schemars(length(max = 1024))]
    pub prompt: String,
    /// `key` in the object store.
    #[schemars(length(min = 1, max = 1024))]
    pub key: String,
}
