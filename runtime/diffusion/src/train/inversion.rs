//! Textual inversion: Gal et al. 2022. Vectors take a word's place before the text encoder.
//!
//! Facts: the web UI's `textual_inversion.py` (`create_embedding`: how initial words become vectors).

use std::sync::Arc;

use candle_core::{Device, Tensor, Var};

use crate::pipeline::Pipeline;
use crate::random::TorchRng;
use crate::text::{Embedding, MAX_VECTORS, TextStyle, Tokenizer};

use super::error::TrainError;
use super::plan::{Group, NamedVar, Output, Plan, Wiring};

/// The word and its vectors.
#[derive(Debug, Clone, PartialEq)]
pub struct TextualInversionOptions {
    /// The word that captions call it by.
    pub name: String,
    /// 1 to 75.
    pub vectors: usize,
    /// Words whose vectors are the first ones; without any they are small random numbers.
    pub initial: String,
}

pub(super) fn plan(
    pipeline: &Pipeline,
    options: &TextualInversionOptions,
    seed: u64,
) -> Result<Plan, TrainError> {
    if !(1..=MAX_VECTORS).contains(&options.vectors) {
        let (value, limit) = (options.vectors.to_string(), format!("it is from 1 to {MAX_VECTORS}"));
        return Err(TrainError::Option { option: "vectors", value, limit });
    }
    let text = pipeline.text_encoder();
    let keys: &[&str] = if text.style() == TextStyle::Sdxl { &["clip_l", "clip_g"] } else { &["emb_params"] };
    let mut rng = TorchRng::new(seed);
    let mut variables = Vec::new();
    for (key, clip) in keys.iter().zip(text.networks()) {
        let first = if options.initial.trim().is_empty() {
            let shape = (options.vectors, clip.config().width);
            Tensor::from_vec(rng.randn(shape.0 * shape.1), shape, &Device::Cpu).and_then(|t| t * 0.02)
        } else {
            let words = Tokenizer::shared().encode(&options.initial);
            let spread = |i: usize| words.get(i * words.len() / options.vectors).copied();
            let ids: Vec<u32> = (0..options.vectors).filter_map(spread).collect();
            clip.token_vectors(&ids)
        };
        let var = first.and_then(|t| Var::from_tensor(&t)).map_err(TrainError::tensor("a new embedding"))?;
        variables.push(NamedVar::new((*key).to_owned(), var, Group::Embedding));
    }
    let named = |tensor: fn(&Var) -> Tensor| {
        let tensors = variables.iter().map(|v| (v.name.clone(), tensor(&v.var)));
        Embedding::from_tensors(&options.name, tensors).map(Arc::new)
    };
    let tracked = Wiring { embedding: Some(named(|v| v.as_tensor().clone())?), ..Default::default() };
    let plain = Wiring { embedding: Some(named(Var::as_detached_tensor)?), ..Default::default() };
    let output = Output::Embedding { name: options.name.clone() };
    Ok(Plan { variables, tracked, plain, dropout: None, output })
}
