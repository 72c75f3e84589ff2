//! Model: a set of weight files of one type.

use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use crate::model_source::*;

use crate::common::{Condition, KindRef, LastFailure};
use crate::{rules, schema};

/// What the weights are and where they come from.
#[derive(CustomResource, Clone, Debug, PartialEq, Serialize, Deserialize, KubeSchema)]
#[kube(
    group = "easel.dev",
    version = "v1alpha1",
    kind = "Model",
    shortname = "mdl",
    category = "easel",
    namespaced,
    status = "ModelStatus",
    derive = "PartialEq",
    doc = "A set of weight files of one type. Ready only when its bytes are in the object store, hashed and understood.",
    validation = rules::short_name(),
    validation = rules::label_name(),
    validation = rules::no_merge_with_itself(),
    printcolumn(name = "Type", type_ = "string", json_path = ".spec.type"),
    printcolumn(name = "Ready", type_ = "string", json_path = ".status.conditions[?(@.type==\"Ready\")].status"),
    printcolumn(name = "Reason", type_ = "string", json_path = ".status.conditions[?(@.type==\"Ready\")].reason"),
    printcolumn(name = "Family", type_ = "string", json_path = ".status.family"),
    printcolumn(name = "Bytes", type_ = "integer", json_path = ".status.sizeBytes"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"),
    printcolumn(name = "Message", type_ = "string", priority = 1, json_path = ".status.conditions[?(@.type==\"Ready\")].message")
)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = rules::merge_makes_checkpoints(), validation = rules::trainable_type())]
pub struct ModelSpec {
    /// `type` of the weights; their header must agree.
    #[x_kube(validation = rules::immutable("type"))]
    pub r#type: ModelType,
    /// `displayName` is what REST clients call the model, e.g. `easel-demo.safetensors`; unset means the object's name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 128))]
    #[x_kube(validation = rules::object_key("displayName"))]
    pub display_name: Option<String>,
    /// `source` is where the weights come from; exactly one of its fields is set. A changed source is imported anew.
    pub source: ModelSource,
    /// `suspend` stops a running import and starts none.
    #[serde(default)]
    pub suspend: bool,
}

/// What a set of weights is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum ModelType {
    Checkpoint,
    Lora,
    TextualInversion,
    Hypernetwork,
    ControlNet,
    Vae,
    Upscaler,
    FaceRestorer,
    SafetyChecker,
    TextToVideo,
}

impl ModelType {
    /// The word in the API.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Checkpoint => "Checkpoint",
            Self::Lora => "Lora",
            Self::TextualInversion => "TextualInversion",
            Self::Hypernetwork => "Hypernetwork",
            Self::ControlNet => "ControlNet",
            Self::Vae => "Vae",
            Self::Upscaler => "Upscaler",
            Self::FaceRestorer => "FaceRestorer",
            Self::SafetyChecker => "SafetyChecker",
            Self::TextToVideo => "TextToVideo",
        }
    }
}

/// What is known about the weights.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ModelStatus {
    /// `observedGeneration` is the generation of the spec that this status speaks of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// `conditions` by type: Ready, Reconciling, Stalled.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "schema::conditions")]
    pub conditions: Vec<Condition>,
    /// `files` in the object store.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "schema::named::<StoredFile, 0, 64>")]
    pub files: Vec<StoredFile>,
    /// `sourceHash` tells of which source `files` are.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64))]
    pub source_hash: Option<String>,
    /// `family` of the architecture, e.g. `Sd1`, read from the header.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64))]
    pub family: Option<String>,
    /// `predictionType` is what the UNet predicts: `epsilon` or `v_prediction`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 32))]
    pub prediction_type: Option<String>,
    /// `precision` of the stored weights: `f16`, `bf16`, `f32`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 32))]
    pub precision: Option<String>,
    /// `triggerWords` that bring out what was trained, read from the header.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "schema::string_set::<256, 64>")]
    pub trigger_words: Vec<String>,
    /// `baseModel` that the weights' maker says they were made from, e.g. `sd_v1`: a hint, read from the header.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 256))]
    pub base_model: Option<String>,
    /// `network` is what an adapter is, read from the header.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub network: Option<Network>,
    /// `thumbnail` that the weights' maker put into the header.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub thumbnail: Option<Thumbnail>,
    /// `sizeBytes` of all files.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub size_bytes: Option<u64>,
    /// `import` that runs or ran last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub import: Option<ImportStatus>,
    /// `usedBy` are the objects that name this Model; at most 32 of them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "schema::atomic::<KindRef, 0, 32>")]
    pub used_by: Vec<KindRef>,
    /// `lastFailure` is the last thing that went wrong.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_failure: Option<LastFailure>,
}

/// A file in the object store.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct StoredFile {
    /// `name` of the file as its owner calls it.
    #[schemars(length(min = 1, max = 512))]
    pub name: String,
    /// `key` in the object store.
    #[schemars(length(min = 1, max = 1024))]
    pub key: String,
    /// `sha256` of the bytes, 64 lower-case hexadecimal digits.
    #[schemars(length(min = 64, max = 64))]
    pub sha256: String,
    /// `sizeBytes` of the file.
    pub size_bytes: u64,
}

/// How an adapter stores its changes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Network {
    /// `kind` of the network, e.g. `Lora`, `LoCon` (convolutions too), `LoHa`, `LoKr`, `DoRa`.
    #[schemars(length(min = 1, max = 32))]
    pub kind: String,
    /// `rank`, the largest of its modules; unset for kinds without one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rank: Option<u32>,
}

/// A small picture in the object store.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Thumbnail {
    /// `key` in the object store.
    #[schemars(length(min = 1, max = 1024))]
    pub key: String,
    /// `sha256` of the bytes, 64 lower-case hexadecimal digits.
    #[schemars(length(min = 64, max = 64))]
    pub sha256: String,
    /// `mediaType`, e.g. `image/png`.
    #[schemars(length(min = 1, max = 64))]
    pub media_type: String,
    /// `sizeBytes` of the picture.
    pub size_bytes: u64,
}

/// What an import is doing, as `easel_protocol::import::ImportPhase` has it. Over the files of a Model the phases come
/// again and again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum ImportPhase {
    Fetching,
    Unpacking,
    Converting,
    Merging,
    Checking,
    Storing,
}

/// How far an import is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ImportStatus {
    /// `job` that does it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 253))]
    pub job: Option<String>,
    /// `phase` that it is in; unset when it has ended. What follows speaks of this phase, of all files while they are
    /// fetched and of one file otherwise.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub phase: Option<ImportPhase>,
    /// `bytesDone` so far.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bytes_done: Option<u64>,
    /// `bytesTotal` are expected; unset while the origin has not said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bytes_total: Option<u64>,
    /// `bytesPerSecond` over the last seconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bytes_per_second: Option<u64>,
    /// `etaSeconds` until the phase ends at this rate.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub eta_seconds: Option<u64>,
    /// `attempts` made for this source, the running one included.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attempts: Option<u32>,
}
