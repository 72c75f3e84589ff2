//! A Model that is merged from others.

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::common::ObjectRef;
use crate::{rules, schema};

/// New weights from those of other Models: made once, of the files that these have when all of them are Ready.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = rules::merge_count())]
pub struct MergeSource {
    /// `method`: WeightedSum is A·(1 - multiplier) + B·multiplier; AddDifference is A + (B - C)·multiplier; Sigmoid and
    /// InverseSigmoid are weighted sums whose multiplier follows the smooth step or its inverse.
    pub method: MergeMethod,
    /// `models` are A, B and, for AddDifference, C: single-file checkpoints of one family.
    #[schemars(schema_with = "schema::atomic::<ObjectRef, 2, 3>")]
    pub models: Vec<ObjectRef>,
    /// `multiplier` from 0 to 1, as a decimal.
    #[serde(default = "half")]
    #[schemars(schema_with = "schema::decimal")]
    #[x_kube(validation = rules::fraction("multiplier"))]
    pub multiplier: String,
    /// `blockWeights` take the multiplier's place in the UNet, block by block: IN00 and on, M00, OUT00 and on, with or without BASE before them (25 or 26 for SD 1.x and 2.x, 19 or 20 for SDXL).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "schema::decimals::<26>")]
    #[x_kube(validation = rules::fractions("blockWeights"))]
    pub block_weights: Vec<String>,
    /// `vae` is the Model whose autoencoder takes the place of A's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vae: Option<ObjectRef>,
    /// `precision` of the result.
    #[serde(default)]
    pub precision: MergePrecision,
    /// `pruneEma` leaves out the moving averages of a training.
    #[serde(default = "yes")]
    pub prune_ema: bool,
}

fn half() -> String {
    "0.5".into()
}

fn yes() -> bool {
    true
}

/// How weights are combined.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum MergeMethod {
    WeightedSum,
    AddDifference,
    Sigmoid,
    InverseSigmoid,
}

/// Number format of merged weights.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum MergePrecision {
    #[default]
    F16,
    Bf16,
    F32,
}
