//! What a merged file says about itself: the plan, and its sources by hash.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read;
use std::ops::ControlFlow;

use serde::Serialize;
use sha2::{Digest, Sha256};

use crate::weights::{Header, hex};

use super::error::MergeError;
use super::plan::{MergePlan, MergeSource, Method, OutputPrecision};

/// The metadata key of the recipe, which is JSON.
const KEY: &str = "easel.merge";
/// Facts about the first model that stay true of the merged one.
const KEPT: [&str; 3] = ["modelspec.architecture", "modelspec.prediction_type", "modelspec.predict_key"];
/// Longest such fact that is taken over.
const MAX_KEPT: usize = 200;
const BLOCK: usize = 1 << 20;

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Recipe<'a> {
    method: Method,
    weight: f64,
    #[serde(skip_serializing_if = "<[f64]>::is_empty")]
    block_weights: &'a [f64],
    #[serde(skip_serializing_if = "Option::is_none")]
    precision: Option<OutputPrecision>,
    prune_ema: bool,
    sources: Vec<Ingredient<'a>>,
}

#[derive(Serialize)]
struct Ingredient<'a> {
    role: &'static str,
    name: &'a str,
    sha256: String,
}

/// The sources of a plan with the part that each plays.
pub(super) fn sources(plan: &MergePlan) -> impl Iterator<Item = (&'static str, &MergeSource)> {
    [("a", Some(&plan.a)), ("b", Some(&plan.b)), ("c", plan.c.as_ref()), ("vae", plan.vae.as_ref())]
        .into_iter()
        .filter_map(|(role, source)| Some((role, source?)))
}

/// The sha256 of a file; `seen` is told of each piece and may stop it.
///
/// # Errors
/// The file cannot be read, or it was stopped.
pub(super) fn hash(
    source: &MergeSource,
    seen: &mut dyn FnMut(u64) -> ControlFlow<()>,
) -> Result<String, MergeError> {
    if let Some(known) = &source.sha256 {
        return Ok(known.to_ascii_lowercase());
    }
    let failed = |error| MergeError::Read { name: source.name.clone(), source: error };
    let mut file = File::open(&source.path).map_err(failed)?;
    let (mut hash, mut block) = (Sha256::new(), vec![0; BLOCK]);
    loop {
        let length = file.read(&mut block).map_err(failed)?;
        if length == 0 {
            return Ok(hex(&hash.finalize()));
        }
        hash.update(&block[..length]);
        if seen(length as u64).is_break() {
            return Err(MergeError::Stopped);
        }
    }
}

/// The metadata of the merged file; `hashes` are those of [`sources`], in that order.
pub(super) fn metadata(plan: &MergePlan, hashes: Vec<String>, a: &Header) -> BTreeMap<String, String> {
    let recipe = Recipe {
        method: plan.method,
        weight: plan.weight,
        block_weights: &plan.block_weights,
        precision: plan.precision,
        prune_ema: plan.prune_ema,
        sources: sources(plan)
            .zip(hashes)
            .map(|((role, source), sha256)| Ingredient { role, name: &source.name, sha256 })
            .collect(),
    };
    let kept = KEPT.iter().filter_map(|key| a.metadata.get_key_value(*key));
    let mut metadata: BTreeMap<String, String> = kept
        .filter(|(_, text)| text.len() <= MAX_KEPT)
        .map(|(key, text)| (key.clone(), text.clone()))
        .collect();
    // Numbers of a checked plan are finite, and all else is text: JSON can hold it.
    metadata.insert(KEY.into(), serde_json::json!(recipe).to_string());
    metadata.insert("format".into(), "pt".into());
    metadata
}
