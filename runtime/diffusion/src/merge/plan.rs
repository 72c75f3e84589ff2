//! What is to be merged, and how: plain data.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::weights::Dtype;

use super::error::MergeError;

/// Largest weight, either way. Differences are added up to two or three times; beyond ten it is a slip.
const MAX_WEIGHT: f64 = 10.0;
/// Most weights by block that are looked at before the model's own number of blocks is known.
const MAX_BLOCK_WEIGHTS: usize = 128;

/// A merge of two or three checkpoints in the single-file layout (safetensors or pickles).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct MergePlan {
    /// What everything that is not merged comes from.
    pub a: MergeSource,
    pub b: MergeSource,
    /// What is subtracted from `b`; for [`Method::AddDifference`] alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub c: Option<MergeSource>,
    pub method: Method,
    /// The share of `b`: 0 is `a`, 1 is `b`. From -10 to 10, for the sigmoids from 0 to 1.
    pub weight: f64,
    /// Weights by block of the UNet: `IN00…, M00, OUT00…`, or with `BASE` before them, which then takes
    /// the place of `weight`. 25 or 26 for SD 1.x and 2.x, 19 or 20 for SDXL; empty for one weight.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub block_weights: Vec<f64>,
    /// An autoencoder that takes the place of `a`'s.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vae: Option<MergeSource>,
    /// What weights are stored as; unset keeps `a`'s types.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub precision: Option<OutputPrecision>,
    /// Leaves out the moving averages of a training (`model_ema.`).
    #[serde(default)]
    pub prune_ema: bool,
}

/// A file that takes part.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct MergeSource {
    pub path: PathBuf,
    /// What the recipe calls it.
    pub name: String,
    /// Its sha256 in lower-case hex where that is known, which saves reading the file once more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sha256: Option<String>,
}

impl MergeSource {
    /// A file under its own name.
    pub fn file(path: impl AsRef<Path>) -> Self {
        let path = path.as_ref();
        let name = path.file_name().unwrap_or(path.as_os_str()).to_string_lossy().into_owned();
        Self { path: path.to_owned(), name, sha256: None }
    }
}

/// How tensors are combined; `m` is the weight, arithmetic is in f32.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Method {
    /// `(1 - m) * a + m * b`. Facts: the web UI's `modules/extras.py`, `run_modelmerger`.
    WeightedSum,
    /// `a + m * (b - c)`, from the same place.
    AddDifference,
    /// `a + (b - a) * s` with the smooth step `s = m² (3 - 2m)`. Facts: `sigmoid` of `modules/extras.py`
    /// in the web UI of October 2022.
    Sigmoid,
    /// The same with the inverse of the smooth step, `s = 1/2 - sin(asin(1 - 2m) / 3)`: `inv_sigmoid`.
    InverseSigmoid,
}

/// Element type of the merged file's weights.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum OutputPrecision {
    F32,
    F16,
    Bf16,
}

impl OutputPrecision {
    pub(super) fn dtype(self) -> Dtype {
        match self {
            Self::F32 => Dtype::F32,
            Self::F16 => Dtype::F16,
            Self::Bf16 => Dtype::Bf16,
        }
    }
}

impl MergePlan {
    /// Two files, a method and a weight; nothing else is changed.
    pub fn new(a: MergeSource, b: MergeSource, method: Method, weight: f64) -> Self {
        let (c, vae, precision) = (None, None, None);
        Self { a, b, c, method, weight, block_weights: Vec::new(), vae, precision, prune_ema: false }
    }

    /// Everything that can be wrong without looking at a file.
    ///
    /// # Errors
    /// A weight is out of its range, or the third file is missing or of no use.
    pub fn validate(&self) -> Result<(), MergeError> {
        match (self.method, &self.c) {
            (Method::AddDifference, None) => return Err(MergeError::NeedsThird),
            (Method::WeightedSum | Method::Sigmoid | Method::InverseSigmoid, Some(c)) => {
                return Err(MergeError::UnusedThird { name: c.name.clone() });
            }
            (Method::AddDifference, Some(_)) | (_, None) => {}
        }
        let (low, high) = match self.method {
            Method::WeightedSum | Method::AddDifference => (-MAX_WEIGHT, MAX_WEIGHT),
            Method::Sigmoid | Method::InverseSigmoid => (0.0, 1.0),
        };
        if self.block_weights.len() > MAX_BLOCK_WEIGHTS {
            return Err(MergeError::BlockWeights { given: self.block_weights.len(), blocks: 25 });
        }
        let named =
            self.block_weights.iter().enumerate().map(|(i, w)| (format!("block weight {}", i + 1), *w));
        for (what, value) in std::iter::once(("the weight".to_owned(), self.weight)).chain(named) {
            if !(low..=high).contains(&value) {
                return Err(MergeError::Weight { what, value, low, high });
            }
        }
        let sources = [Some(&self.a), Some(&self.b), self.c.as_ref(), self.vae.as_ref()];
        for source in sources.into_iter().flatten() {
            let is_hash = |text: &String| text.len() == 64 && text.bytes().all(|b| b.is_ascii_hexdigit());
            if source.sha256.as_ref().is_some_and(|text| !is_hash(text)) {
                return Err(MergeError::Hash { name: source.name.clone() });
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plans_that_cannot_be_meant_are_refused() {
        let two = |method, weight| {
            MergePlan::new(MergeSource::file("/x/a"), MergeSource::file("b"), method, weight)
        };
        let third = |plan: MergePlan| MergePlan { c: Some(MergeSource::file("c")), ..plan };
        let blocks = |plan: MergePlan, block_weights| MergePlan { block_weights, ..plan };
        let hash = |text: &str| {
            let a = MergeSource { sha256: Some(text.into()), ..MergeSource::file("a") };
            MergePlan { a, ..two(Method::WeightedSum, 0.5) }
        };
        let cases = [
            ("two files", two(Method::WeightedSum, 1.5), Ok(())),
            ("three files", third(two(Method::AddDifference, 1.0)), Ok(())),
            ("a known hash", hash(&"0f".repeat(32)), Ok(())),
            ("no third", two(Method::AddDifference, 1.0), Err("MergeNeedsThirdModel")),
            ("a third of no use", third(two(Method::Sigmoid, 0.5)), Err("MergeThirdModelUnused")),
            ("a sigmoid beyond one", two(Method::Sigmoid, 1.5), Err("InvalidMergeWeight")),
            ("not a number", two(Method::WeightedSum, f64::NAN), Err("InvalidMergeWeight")),
            (
                "a block's weight",
                blocks(two(Method::WeightedSum, 0.0), vec![99.0]),
                Err("InvalidMergeWeight"),
            ),
            ("too many", blocks(two(Method::WeightedSum, 0.0), vec![0.0; 129]), Err("InvalidBlockWeights")),
            ("no hash", hash("../x"), Err("InvalidSha256")),
        ];
        for (name, plan, want) in cases {
            assert_eq!(plan.validate().map_err(|e| e.reason()), want, "{name}");
        }
    }

    #[test]
    fn a_plan_is_plain_data() {
        let mut plan =
            MergePlan::new(MergeSource::file("/m/a.ckpt"), MergeSource::file("b"), Method::WeightedSum, 0.25);
        assert_eq!(plan.a.name, "a.ckpt");
        plan.precision = Some(OutputPrecision::Bf16);
        let json = serde_json::to_value(&plan).unwrap();
        assert_eq!((&json["method"], &json["precision"]), (&"WeightedSum".into(), &"Bf16".into()));
        assert_eq!(serde_json::from_value::<MergePlan>(json).unwrap(), plan);
    }
}
