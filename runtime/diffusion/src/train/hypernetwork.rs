//! Hypernetworks: small networks that change what attention reads.
//!
//! Facts: the web UI's `modules/hypernetworks/hypernetwork.py` (`HypernetworkModule`: order and numbers of
//! layers, initial values).

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use candle_core::{DType, Device, Result as TensorResult, Tensor, Var};

use crate::adapters::{Activation, HyperLayer, HyperNetwork, Hypernetwork, HypernetworkError};
use crate::ops::{LayerNorm, Linear};
use crate::pipeline::Pipeline;
use crate::random::TorchRng;

use super::error::TrainError;
use super::plan::{Group, NamedVar, Output, Plan, Wiring};

/// Deviation of the first weights: the web UI's "Normal".
const DEVIATION: f32 = 0.01;
/// Most layers, and widest, of a network; what the engine's reader takes.
const MAX_LAYERS: usize = 32;
const MAX_WIDENING: f64 = 32.0;

/// The networks' structure.
#[derive(Debug, Clone, PartialEq)]
pub struct HypernetworkOptions {
    /// Widths of the layers as multiples of the context's; the first and the last are 1.
    pub layers: Vec<f64>,
    /// The web UI's name of the function behind each layer, `linear` for none.
    pub activation: String,
    /// Behind the last layer too.
    pub activate_output: bool,
    /// Normalise behind each layer.
    pub layer_norm: bool,
    /// Widths of contexts to change; unset takes every one that the UNet's attention reads.
    pub widths: Option<Vec<usize>>,
}

impl Default for HypernetworkOptions {
    fn default() -> Self {
        Self {
            layers: vec![1.0, 2.0, 1.0],
            activation: "linear".into(),
            activate_output: false,
            layer_norm: false,
            widths: None,
        }
    }
}

/// What a file says besides its tensors.
#[derive(Debug)]
pub(super) struct HyperSettings {
    pub activation: String,
    pub activate_output: bool,
}

pub(super) fn plan(
    pipeline: &Pipeline,
    options: &HypernetworkOptions,
    seed: u64,
) -> Result<Plan, TrainError> {
    let activation = Activation::parse(&options.activation)
        .ok_or_else(|| HypernetworkError::Activation { name: options.activation.clone() })?;
    check_layers(&options.layers)?;
    let mut variables = Vec::new();
    let (mut tracked, mut plain) = (BTreeMap::new(), BTreeMap::new());
    let mut rng = TorchRng::new(seed);
    for width in widths(pipeline, options)? {
        let mut sides = Vec::new();
        for side in 0..2 {
            let stem = format!("{width}.{side}.linear");
            let mut maker = Maker { options, activation, rng: &mut rng, stem, variables: &mut variables };
            sides.push(maker.network(width).map_err(TrainError::tensor("a new hypernetwork"))?);
        }
        let second = sides.pop().zip(sides.pop());
        if let Some(((values, bare_values), (keys, bare_keys))) = second {
            tracked.insert(width, (keys, values));
            plain.insert(width, (bare_keys, bare_values));
        }
    }
    let wiring = |networks| Wiring {
        contexts: vec![Arc::new(Hypernetwork::of(networks)).patch(1.0)],
        ..Default::default()
    };
    let HypernetworkOptions { activation, activate_output, .. } = options.clone();
    let output = Output::Hypernetwork(HyperSettings { activation, activate_output });
    Ok(Plan { variables, tracked: wiring(tracked), plain: wiring(plain), dropout: None, output })
}

fn check_layers(layers: &[f64]) -> Result<(), TrainError> {
    let ends = [layers.first(), layers.last()].iter().all(|end| *end == Some(&1.0));
    let sound = layers.iter().all(|m| *m > 0.0 && *m <= MAX_WIDENING);
    if (2..=MAX_LAYERS / 2).contains(&layers.len()) && ends && sound {
        return Ok(());
    }
    let limit = format!(
        "they are 2 to {} numbers above 0, at most {MAX_WIDENING}, of which the first and the last are 1",
        MAX_LAYERS / 2
    );
    Err(TrainError::Option { option: "layers", value: format!("{layers:?}"), limit })
}

/// Widths that some attention of the UNet reads: others would never be trained.
fn widths(pipeline: &Pipeline, options: &HypernetworkOptions) -> Result<BTreeSet<usize>, TrainError> {
    let unet = pipeline.unet().config();
    let levels = unet.channels.iter().zip(&unet.depth).filter(|(_, depth)| **depth > 0);
    let mut read: BTreeSet<usize> = levels.map(|(channels, _)| *channels).collect();
    read.extend(unet.channels.last());
    read.insert(unet.context);
    let Some(asked) = &options.widths else { return Ok(read) };
    let asked: BTreeSet<usize> = asked.iter().copied().collect();
    if asked.is_empty() || !asked.is_subset(&read) {
        let limit = format!("this model's attention reads {read:?}");
        return Err(TrainError::Option { option: "widths", value: format!("{asked:?}"), limit });
    }
    Ok(asked)
}

/// Makes the networks of one side of one width.
struct Maker<'a> {
    options: &'a HypernetworkOptions,
    activation: Activation,
    rng: &'a mut TorchRng,
    stem: String,
    variables: &'a mut Vec<NamedVar>,
}

impl Maker<'_> {
    /// The network, and the same of the same memory without a graph.
    fn network(&mut self, width: usize) -> TensorResult<(HyperNetwork, HyperNetwork)> {
        let sizes: Vec<usize> =
            self.options.layers.iter().map(|m| ((width as f64 * m).round() as usize).max(1)).collect();
        let (mut layers, mut bare) = (Vec::new(), Vec::new());
        let mut index = 0;
        for (n, pair) in sizes.windows(2).enumerate() {
            let (input, output) = (pair[0], pair[1]);
            let weights: Vec<f32> = self.rng.randn(input * output).iter().map(|v| v * DEVIATION).collect();
            let weight = Var::from_vec(weights, (output, input), &Device::Cpu)?;
            let (weight, bias) = self.pair(index, weight, output)?;
            layers.push(HyperLayer::Linear(Linear::of(weight.0, Some(bias.0))));
            bare.push(HyperLayer::Linear(Linear::of(weight.1, Some(bias.1))));
            index += 1;
            let is_last = n + 2 == sizes.len();
            if self.activation != Activation::Linear && (!is_last || self.options.activate_output) {
                layers.push(HyperLayer::Activation(self.activation));
                bare.push(HyperLayer::Activation(self.activation));
                index += 1;
            }
            if self.options.layer_norm {
                let weight = Var::ones(output, DType::F32, &Device::Cpu)?;
                let (weight, bias) = self.pair(index, weight, output)?;
                layers.push(HyperLayer::Norm(LayerNorm::of(weight.0, bias.0)));
                bare.push(HyperLayer::Norm(LayerNorm::of(weight.1, bias.1)));
                index += 1;
            }
        }
        Ok((HyperNetwork::of(layers), HyperNetwork::of(bare)))
    }

    /// A weight and a bias of zeros, each with and without a graph.
    fn pair(&mut self, index: usize, weight: Var, count: usize) -> TensorResult<(Both, Both)> {
        let bias = Var::zeros(count, DType::F32, &Device::Cpu)?;
        let both = |var: &Var| (var.as_tensor().clone(), var.as_detached_tensor());
        let pair = (both(&weight), both(&bias));
        for (leaf, var) in [("weight", weight), ("bias", bias)] {
            self.variables.push(NamedVar::new(format!("{}.{index}.{leaf}", self.stem), var, Group::Unet));
        }
        Ok(pair)
    }
}

type Both = (Tensor, Tensor);
