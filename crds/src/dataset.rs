//! Dataset: a named set of training pictures in the object store.

use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::common::{Condition, KindRef, LastFailure};
use crate::{rules, schema};

/// Which pictures belong to the set.
#[derive(CustomResource, Clone, Debug, PartialEq, Serialize, Deserialize, KubeSchema)]
#[kube(
    group = "easel.dev",
    version = "v1alpha1",
    kind = "Dataset",
    shortname = "dset",
    category = "easel",
    namespaced,
    status = "DatasetStatus",
    derive = "PartialEq",
    doc = "A named set of pictures in the object store, for training.",
    validation = rules::short_name(),
    validation = rules::label_name(),
    printcolumn(name = "Ready", type_ = "string", json_path = ".status.conditions[?(@.type==\"Ready\")].status"),
    printcolumn(name = "Reason", type_ = "string", json_path = ".status.conditions[?(@.type==\"Ready\")].reason"),
    printcolumn(name = "State", type_ = "string", json_path = ".spec.state"),
    printcolumn(name = "Items", type_ = "integer", json_path = ".status.itemCount"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"),
    printcolumn(name = "Message", type_ = "string", priority = 1, json_path = ".status.conditions[?(@.type==\"Ready\")].message")
)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = rules::items_or_manifest(), validation = rules::dataset_name_is_fixed())]
pub struct DatasetSpec {
    /// `datasetName` is the name that REST clients use, and part of the objects' keys; unset means the object's name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 128))]
    #[x_kube(validation = rules::file_name("datasetName"))]
    pub dataset_name: Option<String>,
    /// `description` is for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 1024))]
    pub description: Option<String>,
    /// `state` tells whether TrainingJobs may use the set; while it is uploaded it is Disabled.
    #[serde(default)]
    pub state: DatasetState,
    /// `items` are the pictures, by name.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "schema::named::<DatasetItem, 0, 512>")]
    pub items: Vec<DatasetItem>,
    /// `manifest` names an object that lists the pictures, for sets that are too long for `items`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub manifest: Option<Manifest>,
}

/// May it be used?
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum DatasetState {
    #[default]
    Enabled,
    Disabled,
}

/// One picture.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct DatasetItem {
    /// `name` of the picture's file.
    #[schemars(length(min = 1, max = 128))]
    #[x_kube(validation = rules::file_name("name"))]
    pub name: String,
    /// `key` in the object store; unset means `dataset/<namespace>/<datasetName>/<name>`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 512))]
    #[x_kube(validation = rules::object_key("key"))]
    pub key: Option<String>,
    /// `sha256` that the bytes must have.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::sha256")]
    #[x_kube(validation = rules::sha256("sha256"))]
    pub sha256: Option<String>,
    /// `sizeBytes` of the file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1_073_741_824))]
    pub size_bytes: Option<u64>,
    /// `mediaType` of the file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub media_type: Option<MediaType>,
    /// `caption` that the picture is trained with; unset means the concept's prompt.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 1024))]
    pub caption: Option<String>,
    /// `state` leaves a picture out without losing it.
    #[serde(default)]
    pub state: DatasetState,
}

/// Formats that training reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum MediaType {
    #[serde(rename = "image/png")]
    Png,
    #[serde(rename = "image/jpeg")]
    Jpeg,
    #[serde(rename = "image/webp")]
    Webp,
}

/// An object in the store that lists pictures: JSON lines, each a `DatasetItem`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct Manifest {
    /// `key` of the list in the object store.
    #[schemars(length(min = 1, max = 512))]
    #[x_kube(validation = rules::object_key("key"))]
    pub key: String,
    /// `sha256` of the list: a changed list is a changed spec.
    #[schemars(schema_with = "schema::sha256")]
    #[x_kube(validation = rules::sha256("sha256"))]
    pub sha256: String,
}

/// What is known about the set.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct DatasetStatus {
    /// `observedGeneration` is the generation of the spec that this status speaks of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// `conditions` by type: Ready, Reconciling, Stalled.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "schema::conditions")]
    pub conditions: Vec<Condition>,
    /// `itemCount` is the number of pictures, the disabled ones included.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub item_count: Option<u32>,
    /// `enabledCount` is the number of pictures that training sees.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub enabled_count: Option<u32>,
    /// `missingCount` is the number of enabled pictures whose bytes are not in the store.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub missing_count: Option<u32>,
    /// `invalidCount` is the number of enabled pictures that training could not use.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub invalid_count: Option<u32>,
    /// `duplicateCount` is the number of enabled pictures whose bytes another one has too; training takes one of them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub duplicate_count: Option<u32>,
    /// `problems` are the first of those; `report` has all.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "schema::atomic::<ItemProblem, 0, 16>")]
    pub problems: Vec<ItemProblem>,
    /// `report` is the key of a list in the object store, JSON lines: name, sha256, sizeBytes, width, height, problem.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 1024))]
    pub report: Option<String>,
    /// `itemsHash` tells of which items the counts are.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64))]
    pub items_hash: Option<String>,
    /// `sizeBytes` of all pictures.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub size_bytes: Option<u64>,
    /// `usedBy` are the TrainingJobs that name the set; at most 32 of them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "schema::atomic::<KindRef, 0, 32>")]
    pub used_by: Vec<KindRef>,
    /// `lastFailure` is the last thing that went wrong.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_failure: Option<LastFailure>,
}

/// A picture that has something wrong with it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ItemProblem {
    /// `name` of the picture.
    #[schemars(length(min = 1, max = 128))]
    pub name: String,
    /// `reason` is Missing, HashDiffers, TooLarge, TooSmall, Unreadable or Duplicate.
    #[schemars(length(min = 1, max = 64))]
    pub reason: String,
}
