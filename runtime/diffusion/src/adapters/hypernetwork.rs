//! Hypernetworks of the web UI: small networks through which attention reads its context.
//!
//! Keys and values get a network each, chosen by the context's width: x + net(x) · strength. The widths
//! of self-attention may have networks too. Facts: the web UI's `modules/hypernetworks/hypernetwork.py`
//! (`HypernetworkModule`, `apply_single_hypernetwork`). Dropout is for training and does nothing here.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;

use candle_core::{Result, Tensor};

use crate::inspect::{Kind, kind_of};
use crate::ops::{LayerNorm, Linear};
use crate::weights::{ContextPatch, Header, Params, WeightError, WeightsBuilder, read_header};

use super::activation::Activation;
use super::load::Identity;

/// Most widths of one file; the web UI offers six.
const MAX_WIDTHS: usize = 16;
/// Most layers of one network; known ones have up to 6.
const MAX_LAYERS: usize = 32;
/// Widest layer, as a multiple of the context's; known ones have up to 8.
const MAX_WIDENING: usize = 32;

type Loaded<T> = std::result::Result<T, HypernetworkError>;

/// Why a file is no usable hypernetwork.
#[derive(Debug, thiserror::Error)]
pub enum HypernetworkError {
    #[error(transparent)]
    Weights(Box<WeightError>),
    #[error("{path} is of kind {kind}, not a hypernetwork: it has no `768.0.linear.0.weight` or the like")]
    NotAHypernetwork { path: String, kind: Kind },
    #[error("the hypernetwork's activation is `{name}`; known are {}", known_activations())]
    Activation { name: String },
    #[error("`{tensor}`: {detail}: the file is damaged")]
    Structure { tensor: String, detail: String },
    #[error(
        "the hypernetwork is for contexts of {widths:?}, this model's text has {context}: use it with the model it was trained on"
    )]
    OtherModel { widths: Vec<usize>, context: usize },
}

fn known_activations() -> String {
    Activation::NAMES.iter().map(|row| row.0).collect::<Vec<_>>().join(", ")
}

impl From<WeightError> for HypernetworkError {
    fn from(error: WeightError) -> Self {
        Self::Weights(Box::new(error))
    }
}

impl HypernetworkError {
    /// Stable CamelCase word for statuses and metrics.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::Weights(e) => e.reason(),
            Self::NotAHypernetwork { .. } => "NotAHypernetwork",
            Self::Activation { .. } => "UnsupportedHypernetwork",
            Self::Structure { .. } => "DamagedHypernetwork",
            Self::OtherModel { .. } => "HypernetworkOfOtherModel",
        }
    }

    /// Only what the disk did may go away by itself.
    pub fn retriable(&self) -> bool {
        match self {
            Self::Weights(e) => e.retriable(),
            Self::NotAHypernetwork { .. }
            | Self::Activation { .. }
            | Self::Structure { .. }
            | Self::OtherModel { .. } => false,
        }
    }
}

/// Networks for keys and values, by the width of the context they read.
#[derive(Debug)]
pub struct Hypernetwork {
    identity: Identity,
    networks: BTreeMap<usize, (Network, Network)>,
}

/// The layers of one side.
#[derive(Debug)]
pub(crate) struct Network(Vec<Layer>);

/// One of them.
#[derive(Debug)]
pub(crate) enum Layer {
    Linear(Linear),
    Norm(LayerNorm),
    Activation(Activation),
}

impl Network {
    /// Layers whose widths go together, back to the first's.
    pub(crate) fn of(layers: Vec<Layer>) -> Self {
        Self(layers)
    }

    fn forward(&self, x: &Tensor, strength: f32) -> Result<Tensor> {
        let mut y = x.clone();
        for layer in &self.0 {
            y = match layer {
                Layer::Linear(linear) => linear.forward(&y)?,
                Layer::Norm(norm) => norm.forward(&y)?,
                Layer::Activation(activation) => activation.apply(&y)?,
            };
        }
        x + (y * f64::from(strength))?
    }
}

impl Hypernetwork {
    /// Reads a hypernetwork whose names are `<width>.<0 for keys, 1 for values>.linear.<n>.weight`, as the
    /// nested dictionaries of the web UI's `.pt` flatten to; `sha256` as for [`super::Adapter::load`].
    ///
    /// # Errors
    /// The file is unreadable, hostile, or no hypernetwork that can be computed here.
    pub fn load(path: &Path, sha256: Option<&str>) -> Loaded<Self> {
        let file = read_header(path)?;
        let settings = Settings::read(&file.header)?;
        let sides: BTreeSet<(usize, usize)> = file
            .header
            .tensors
            .keys()
            .filter_map(|key| place_of(&rename(key)?).map(|p| (p.0, p.1)))
            .collect();
        let widths: BTreeSet<usize> = sides.iter().map(|side| side.0).collect();
        if widths.is_empty() {
            let (path, kind) = (path.display().to_string(), kind_of(&file.header));
            return Err(HypernetworkError::NotAHypernetwork { path, kind });
        }
        if widths.len() > MAX_WIDTHS {
            let detail = format!("networks for {} widths, the limit is {MAX_WIDTHS}", widths.len());
            return Err(HypernetworkError::Structure { tensor: path.display().to_string(), detail });
        }
        let mut builder = WeightsBuilder::default();
        builder.add(file, rename)?;
        let weights = builder.build();
        let names: Vec<(String, Vec<usize>)> =
            weights.shapes().map(|(name, shape)| (name.to_owned(), shape.to_vec())).collect();
        let root = Params::new(weights);
        let mut networks = BTreeMap::new();
        for width in widths {
            let network =
                |side: usize| settings.network(&root.at(width).at(side).at("linear"), width, side, &names);
            networks.insert(width, (network(0)?, network(1)?));
        }
        Ok(Self { identity: Identity::new(sha256), networks })
    }

    /// Networks that no file holds: those in training, by the width of the context.
    pub(crate) fn of(networks: BTreeMap<usize, (Network, Network)>) -> Self {
        Self { identity: Identity::new(None), networks }
    }

    /// The widths of contexts that it changes.
    pub fn widths(&self) -> impl Iterator<Item = usize> {
        self.networks.keys().copied()
    }

    /// The hypernetwork at a strength; 0 changes nothing, 1 is as trained.
    pub fn patch(self: &Arc<Self>, strength: f32) -> Arc<dyn ContextPatch> {
        Arc::new(HypernetworkPatch { network: Arc::clone(self), strength })
    }

    pub(crate) fn identity(&self) -> &Identity {
        &self.identity
    }
}

#[derive(Debug)]
struct HypernetworkPatch {
    network: Arc<Hypernetwork>,
    strength: f32,
}

impl ContextPatch for HypernetworkPatch {
    fn apply(&self, keys: &Tensor, values: &Tensor) -> Result<Option<(Tensor, Tensor)>> {
        let width = keys.dim(2)?;
        let Some((for_keys, for_values)) = self.network.networks.get(&width).filter(|_| self.strength != 0.0)
        else {
            return Ok(None);
        };
        Ok(Some((for_keys.forward(keys, self.strength)?, for_values.forward(values, self.strength)?)))
    }
}

/// The first hypernetworks had two layers of other names.
fn rename(key: &str) -> Option<String> {
    let mut parts = key.split('.');
    let (width, side, kind) = (parts.next()?, parts.next()?, parts.next()?);
    width.parse::<usize>().ok()?;
    match kind {
        "linear1" => Some(format!("{width}.{side}.linear.0.{}", parts.next()?)),
        "linear2" => Some(format!("{width}.{side}.linear.1.{}", parts.next()?)),
        "linear" => Some(key.to_owned()),
        _ => None,
    }
}

/// Width, side and index of a renamed key.
fn place_of(name: &str) -> Option<(usize, usize, usize)> {
    let mut parts = name.split('.');
    let mut number = || parts.next()?.parse::<usize>().ok();
    let (width, side) = (number()?, number()?);
    let mut rest = parts.skip(1);
    let index = rest.next()?.parse().ok()?;
    (side < 2).then_some((width, side, index))
}

/// What a file says besides its tensors.
#[derive(Debug)]
struct Settings {
    activation: Activation,
    /// Also behind the last layer. Files that do not say so were trained that way.
    activate_output: bool,
    use_dropout: bool,
}

impl Settings {
    fn read(header: &Header) -> Loaded<Self> {
        let said = |key: &str| header.metadata.get(key).map(|v| v.trim().to_ascii_lowercase());
        let name = said("activation_func").filter(|v| v != "none" && v != "null").unwrap_or("linear".into());
        let activation = Activation::parse(&name).ok_or(HypernetworkError::Activation { name })?;
        let is_true = |key: &str, default: bool| said(key).map_or(default, |v| v == "true" || v == "1");
        Ok(Self {
            activation,
            activate_output: is_true("activate_output", true),
            use_dropout: is_true("use_dropout", false),
        })
    }

    /// The layers of one side in their order. Numbers without tensors are activations and dropout.
    fn network(
        &self,
        p: &Params,
        width: usize,
        side: usize,
        names: &[(String, Vec<usize>)],
    ) -> Loaded<Network> {
        let start = format!("{width}.{side}.linear.");
        let found: BTreeMap<usize, &[usize]> = names
            .iter()
            .filter(|(name, _)| name.starts_with(&start) && name.ends_with(".weight"))
            .filter_map(|(name, shape)| Some((place_of(name)?.2, shape.as_slice())))
            .collect();
        let linears = found.values().filter(|shape| shape.len() == 2).count();
        let broken = |index: usize, detail: String| HypernetworkError::Structure {
            tensor: format!("{start}{index}.weight"),
            detail,
        };
        if linears == 0 || found.len() > MAX_LAYERS {
            return Err(broken(0, format!("a network of {} layers", found.len())));
        }
        let (mut layers, mut current, mut seen, mut next) = (Vec::new(), width, 0, 0);
        for (index, shape) in found {
            // One place for an activation; one for dropout, if there is any.
            let unused = usize::from(self.activation != Activation::Linear) + usize::from(self.use_dropout);
            if index > next + unused {
                return Err(broken(index, format!("no layer stands at {next}, nor what could be there")));
            }
            let at = p.at(index);
            match *shape {
                [out, input] if input == current && out > 0 && out <= width.saturating_mul(MAX_WIDENING) => {
                    layers.push(Layer::Linear(Linear::load(&at, input, out)?));
                    (current, seen) = (out, seen + 1);
                    if self.activation != Activation::Linear && (seen < linears || self.activate_output) {
                        layers.push(Layer::Activation(self.activation));
                    }
                }
                [n] if n == current => layers.push(Layer::Norm(LayerNorm::load(&at, n, 1e-5)?)),
                _ => return Err(broken(index, format!("{shape:?} behind a layer of {current}"))),
            }
            next = index + 1;
        }
        if current != width {
            return Err(broken(next - 1, format!("{current} outputs for a context of {width}")));
        }
        Ok(Network(layers))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::differences::{assert_gradients, noise, variable};
    use candle_core::{Device, Var};

    /// Both sides of every corner and far from each: differences know no corner.
    const POINTS: [f32; 14] = [-7.0, -4.0, -2.6, -1.4, -0.6, -0.3, 0.3, 0.6, 1.4, 2.6, 3.4, 4.0, 5.4, 7.0];

    #[test]
    fn every_activation_passes_its_gradient() {
        let x = Var::new(&POINTS, &Device::Cpu).unwrap();
        for (name, activation) in Activation::NAMES {
            assert_gradients(name, &[&x], || activation.apply(&x));
        }
    }

    #[test]
    fn networks_pass_gradients_to_contexts_and_layers_with_every_activation() {
        // What the functions are given is near the biases, so far from each corner.
        let w1 = Var::from_tensor(&(noise(&[6, 4], 1) * 0.05).unwrap()).unwrap();
        let b1 = Var::new(&[-4.5_f32, -2.0, -0.5, 0.5, 2.0, 4.5], &Device::Cpu).unwrap();
        let (w2, b2) = (variable(&[4, 6], 3), variable(&[4], 4));
        let (scale, shift) = (variable(&[6], 5), variable(&[6], 6));
        let x = variable(&[2, 3, 4], 7);
        for (name, activation) in Activation::NAMES {
            let tensor = |v: &Var| v.as_tensor().clone();
            let network = Network::of(vec![
                Layer::Linear(Linear::of(tensor(&w1), Some(tensor(&b1)))),
                Layer::Activation(*activation),
                Layer::Norm(LayerNorm::of(tensor(&scale), tensor(&shift))),
                Layer::Linear(Linear::of(tensor(&w2), Some(tensor(&b2)))),
            ]);
            let all = [&x, &w1, &b1, &scale, &shift, &w2, &b2];
            assert_gradients(name, &all, || network.forward(&x, 0.8));
            let still = noise(&[2, 3, 4], 8);
            assert_gradients(name, &all[1..], || network.forward(&still, 1.0));
        }
    }
}
