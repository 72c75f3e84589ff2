//! LoRA: Hu et al. 2021, beside the layers that kohya-ss' or diffusers' trainers choose.
//!
//! Facts: kohya-ss `sd-scripts` `networks/lora.py` (which modules, names, alpha), PEFT's `LoraLayer`
//! (initial values, dropout of the input).

use std::collections::BTreeMap;
use std::sync::Arc;

use candle_core::{Device, Var};

use crate::pipeline::Pipeline;
use crate::random::Mt19937;
use crate::weights::{Dropout, SidePath};

use super::error::TrainError;
use super::objective::Objective;
use super::plan::{Group, NamedVar, Output, Plan, Wiring};

/// Largest rank; no layer of these models has more than 1,280 independent rows.
const MAX_RANK: usize = 1024;

/// The inner size of an adapter, and by what over it its effect is multiplied.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct LoraShape {
    /// 1 to 1024.
    pub rank: usize,
    /// Above 0; the effect is multiplied by alpha / rank.
    pub alpha: f64,
}

/// Which layers of the transformers get an adapter.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum LoraTargets {
    /// Every matrix and 1x1 convolution of them: kohya-ss.
    #[default]
    Transformers,
    /// Queries, keys, values and outputs of attention: diffusers' examples.
    Attention,
}

/// What is trained beside what.
#[derive(Debug, Clone, PartialEq)]
pub struct LoraOptions {
    pub shape: LoraShape,
    pub targets: LoraTargets,
    /// The share of an adapter's input that is dropped, from 0 to below 1.
    pub dropout: f64,
    /// For the convolutions of residual blocks and samplers too (LoCon); unset leaves them alone.
    pub conv: Option<LoraShape>,
    /// For the text encoders too; unset leaves them alone.
    pub text_encoder: Option<LoraShape>,
}

impl Default for LoraOptions {
    fn default() -> Self {
        Self {
            shape: LoraShape { rank: 16, alpha: 16.0 },
            targets: LoraTargets::default(),
            dropout: 0.0,
            conv: None,
            text_encoder: None,
        }
    }
}

/// One adapter, by the name that files have.
#[derive(Debug)]
pub(super) struct LoraModule {
    pub key: String,
    pub alpha: f64,
}

/// A layer that gets one.
struct Target {
    /// The engine's name of the layer.
    module: String,
    key: String,
    /// Of the layer's weight.
    weight: Vec<usize>,
    shape: LoraShape,
    group: Group,
}

pub(super) fn plan(
    pipeline: &Pipeline,
    options: &LoraOptions,
    objective: &Objective,
    seed: u64,
) -> Result<Plan, TrainError> {
    check(options)?;
    let targets = targets(pipeline, options, objective);
    if targets.is_empty() {
        let model = "a model without transformers".to_owned();
        return Err(TrainError::Unsupported { model, remedy: "use an SD 1.x, SD 2.x or SDXL model" });
    }
    let texts = targets.iter().filter(|t| t.group == Group::TextEncoder).count();
    let dropout = (options.dropout > 0.0).then(|| Arc::new(Dropout::new(options.dropout, texts)));
    let mut bits = Mt19937::new(seed);
    let (mut variables, mut modules) = (Vec::new(), Vec::new());
    let (mut tracked, mut plain) = (BTreeMap::new(), BTreeMap::new());
    for (index, target) in targets.into_iter().enumerate() {
        let (down, up) = factors(&target, &mut bits).map_err(TrainError::tensor("a new adapter"))?;
        let scale = target.shape.alpha / target.shape.rank as f64;
        let side = SidePath {
            down: down.as_tensor().clone(),
            up: up.as_tensor().clone(),
            scale,
            dropout: dropout.as_ref().map(|d| (Arc::clone(d), index)),
        };
        let bare =
            SidePath { down: down.as_detached_tensor(), up: up.as_detached_tensor(), scale, dropout: None };
        variables.push(NamedVar::new(format!("{}.lora_down.weight", target.key), down, target.group));
        variables.push(NamedVar::new(format!("{}.lora_up.weight", target.key), up, target.group));
        tracked.insert(target.module.clone(), side);
        plain.insert(target.module, bare);
        modules.push(LoraModule { key: target.key, alpha: target.shape.alpha });
    }
    Ok(Plan {
        variables,
        tracked: Wiring { sides: tracked, ..Default::default() },
        plain: Wiring { sides: plain, ..Default::default() },
        dropout,
        output: Output::Lora(modules),
    })
}

fn check(options: &LoraOptions) -> Result<(), TrainError> {
    for shape in [Some(options.shape), options.conv, options.text_encoder].into_iter().flatten() {
        if !(1..=MAX_RANK).contains(&shape.rank) {
            let (value, limit) = (shape.rank.to_string(), format!("it is from 1 to {MAX_RANK}"));
            return Err(TrainError::Option { option: "rank", value, limit });
        }
        if !(shape.alpha > 0.0 && shape.alpha <= 1e6) {
            let (value, limit) = (shape.alpha.to_string(), "it is above 0, at most 1000000".to_owned());
            return Err(TrainError::Option { option: "alpha", value, limit });
        }
    }
    if !(0.0..1.0).contains(&options.dropout) {
        let (value, limit) = (options.dropout.to_string(), "it is from 0 to below 1".to_owned());
        return Err(TrainError::Option { option: "dropout", value, limit });
    }
    Ok(())
}

/// Text encoders first (their layers are those that one pass asks several times), each in the order of
/// names.
fn targets(pipeline: &Pipeline, options: &LoraOptions, objective: &Objective) -> Vec<Target> {
    let mut found = Vec::new();
    if let Some(shape) = options.text_encoder {
        let prefixes = pipeline.text_prefixes();
        for (index, prefix) in prefixes.iter().enumerate() {
            let word = match (prefixes.len(), *prefix) {
                (1, "text") => "lora_te",
                (_, "text") => "lora_te1",
                _ => "lora_te2",
            };
            for (module, weight) in layers(pipeline, prefix) {
                if !text_wants(module, options.targets)
                    || !pipeline.text_encoder().reads(index, module, objective.clip_skip)
                {
                    continue;
                }
                let key = format!("{word}_text_model_{}", module.replace('.', "_"));
                let module = format!("{prefix}.{module}");
                found.push(Target { module, key, weight, shape, group: Group::TextEncoder });
            }
        }
    }
    for (module, weight) in layers(pipeline, "unet") {
        let Some(shape) = unet_shape(module, &weight, options) else { continue };
        let key = format!("lora_unet_{}", module.replace('.', "_"));
        found.push(Target { module: format!("unet.{module}"), key, weight, shape, group: Group::Unet });
    }
    found
}

/// Matrices and convolutions of a network, without its prefix, with the shapes of their weights. Files may
/// hold more than a network reads, of which nothing was kept: an adapter there would never get a gradient.
fn layers<'a>(pipeline: &'a Pipeline, prefix: &'a str) -> impl Iterator<Item = (&'a str, Vec<usize>)> {
    pipeline.weights().shapes().filter_map(move |(name, shape)| {
        let module = name.strip_prefix(prefix)?.strip_prefix('.')?.strip_suffix(".weight")?;
        let is_layer = matches!(shape.len(), 2 | 4) && pipeline.weights().tensor(name).is_ok();
        is_layer.then(|| (module, shape.to_vec()))
    })
}

fn text_wants(module: &str, targets: LoraTargets) -> bool {
    let is_layer = module.starts_with("encoder.layers.");
    match targets {
        LoraTargets::Transformers => is_layer,
        LoraTargets::Attention => is_layer && module.contains(".self_attn."),
    }
}

fn unet_shape(module: &str, weight: &[usize], options: &LoraOptions) -> Option<LoraShape> {
    if module.contains("attentions.") {
        let is_attention = module.contains(".attn1.") || module.contains(".attn2.");
        return (is_attention || options.targets == LoraTargets::Transformers).then_some(options.shape);
    }
    let is_block = ["resnets.", "downsamplers.", "upsamplers."].iter().any(|part| module.contains(part));
    let conv = options.conv.filter(|_| is_block)?;
    // Of these only what has a kernel gets the rank of convolutions.
    Some(if weight.get(2).is_some_and(|kernel| *kernel > 1) { conv } else { options.shape })
}

/// `down` uniform as `torch`'s own layers begin, `up` zero: nothing is changed at first.
fn factors(target: &Target, bits: &mut Mt19937) -> candle_core::Result<(Var, Var)> {
    let rank = target.shape.rank;
    let (out, rest) = (target.weight[0], &target.weight[1..]);
    let inputs: usize = rest.iter().product();
    let bound = 1.0 / (inputs as f32).sqrt();
    let mut draw = || ((bits.next_u32() >> 8) as f32 / (1_u32 << 23) as f32 - 1.0) * bound;
    let values: Vec<f32> = (0..rank * inputs).map(|_| draw()).collect();
    let down: Vec<usize> = std::iter::once(rank).chain(rest.iter().copied()).collect();
    let up: Vec<usize> = [out, rank].into_iter().chain(rest.iter().skip(1).map(|_| 1)).collect();
    Ok((Var::from_vec(values, down, &Device::Cpu)?, Var::zeros(up, candle_core::DType::F32, &Device::Cpu)?))
}
