//! The network: a copy of the UNet's way down whose outputs leave through 1x1 convolutions.
//!
//! Facts: Zhang et al., "Adding Conditional Control to Text-to-Image Diffusion Models" (2023), and
//! diffusers' `ControlNetModel`.

use candle_core::{Result, Tensor};

use crate::config::{ConfigError, UnetConfig};
use crate::ops::{Conv2d, silu};
use crate::unet::{ControlResiduals, Direct, Encoder, UnetInput, skip_channels};
use crate::weights::{Params, WeightError};

/// Channels of the hint picture.
const HINT_CHANNELS: usize = 3;
/// Convolutions between the first and the last of the embedder; every second one halves the size.
const HINT_BLOCKS: usize = 6;
/// Widest layer of the embedder that is believed; real ones have 256.
const MAX_HINT_CHANNELS: usize = 4096;

/// Width of the first layer in published networks.
const USUAL_HINT_CHANNELS: usize = 16;

/// A ControlNet of SD 1.x, SD 2.x or SDXL. It may be shared between threads.
#[derive(Debug)]
pub struct ControlNet {
    config: UnetConfig,
    embedder: Vec<Conv2d>,
    encoder: Encoder,
    down: Vec<Conv2d>,
    mid: Conv2d,
    pub(super) global_pool: bool,
    pub(super) blue_first: bool,
    pub(super) weight_bytes: u64,
}

/// A hint as the network adds it to its first convolution: `[batch, channels, h, w]`. It does not depend
/// on the step, so it is made once.
#[derive(Debug, Clone)]
pub struct HintEmbedding(Tensor);

impl ControlNet {
    /// Builds the network at `p` (`control.`).
    ///
    /// # Errors
    /// A tensor is missing, of another shape, or not finite.
    pub(super) fn build(p: &Params, config: UnetConfig) -> std::result::Result<Self, WeightError> {
        let zero = |p: &Params, channels: usize| Conv2d::load(p, channels, channels, 1);
        let down = skip_channels(&config)
            .into_iter()
            .enumerate()
            .map(|(n, channels)| zero(&p.at("controlnet_down_blocks").at(n), channels))
            .collect::<std::result::Result<_, _>>()?;
        let last = config.channels[config.channels.len() - 1];
        Ok(Self {
            embedder: embedder(&p.at("controlnet_cond_embedding"), config.channels[0])?,
            encoder: Encoder::load(p, &config)?,
            down,
            mid: zero(&p.at("controlnet_mid_block"), last)?,
            config,
            global_pool: false,
            blue_first: false,
            weight_bytes: 0,
        })
    }

    /// The shape it was built with.
    pub fn config(&self) -> &UnetConfig {
        &self.config
    }

    /// Memory of the loaded weights, for estimates.
    pub fn weight_bytes(&self) -> u64 {
        self.weight_bytes
    }

    /// Does it give one value for each channel, as networks for shuffled pictures do? Such a network is
    /// left out of the unconditional pass.
    pub fn global_pool(&self) -> bool {
        self.global_pool
    }

    /// `hint: [batch, 3, 8·h, 8·w]` from 0 to 1, -1 where an inpainting network is to invent.
    ///
    /// # Errors
    /// The hint has another shape.
    pub fn embed(&self, hint: &Tensor) -> Result<HintEmbedding> {
        let mut x = if self.blue_first { flipped(hint)? } else { hint.clone() };
        for (n, conv) in self.embedder.iter().enumerate() {
            x = conv.forward(&x)?;
            if n + 1 < self.embedder.len() {
                x = silu(&x)?;
            }
        }
        Ok(HintEmbedding(x))
    }

    /// What is added to the UNet's skips and its middle at full weight. A hint of batch 1 serves every
    /// sample; of `input.x` only the latent's channels are read, so that networks for plain models steer
    /// inpainting models too.
    ///
    /// # Errors
    /// A tensor has another shape than this network reads.
    pub fn forward(&self, input: &UnetInput, hint: &HintEmbedding) -> Result<ControlResiduals> {
        let x = if input.x.dim(1)? > self.config.in_channels {
            input.x.narrow(1, 0, self.config.in_channels)?.contiguous()?
        } else {
            input.x.clone()
        };
        let encoded = self.encoder.forward(&UnetInput { x: &x, ..*input }, Some(&hint.0), &mut Direct)?;
        let down = self.down.iter().zip(&encoded.skips).map(|(conv, skip)| conv.forward(skip));
        Ok(ControlResiduals { down: down.collect::<Result<_>>()?, mid: self.mid.forward(&encoded.mid)? })
    }
}

/// A first convolution, three pairs of which the second halves the size, and a last one; its widths are
/// read from the tensors, as trainers have changed them.
fn embedder(p: &Params, channels: usize) -> std::result::Result<Vec<Conv2d>, WeightError> {
    let first = p.at("conv_in");
    let mut width = outputs(&first)?;
    let mut layers = vec![Conv2d::load(&first, HINT_CHANNELS, width, 3)?];
    for n in 0..HINT_BLOCKS {
        let at = p.at("blocks").at(n);
        let out = outputs(&at)?;
        layers.push(Conv2d::load_strided(&at, width, out, 3, 1 + n % 2, 1)?);
        width = out;
    }
    layers.push(Conv2d::load(&p.at("conv_out"), width, channels, 3)?);
    Ok(layers)
}

/// The output channels of the convolution at `p`.
fn outputs(p: &Params) -> std::result::Result<usize, WeightError> {
    match p.shape("bias").and_then(|s| s.first()).copied() {
        Some(out) if (1..=MAX_HINT_CHANNELS).contains(&out) => Ok(out),
        // Names the tensor and what is usual there.
        Some(_) | None => p.tensor("bias", &[USUAL_HINT_CHANNELS]).map(|_| USUAL_HINT_CHANNELS),
    }
}

/// Red and blue exchanged.
fn flipped(hint: &Tensor) -> Result<Tensor> {
    let channel = |c| hint.narrow(1, c, 1);
    Tensor::cat(&[channel(2)?, channel(1)?, channel(0)?], 1)
}

/// For messages: the family of a network of this shape.
pub(super) fn family_name(config: &UnetConfig) -> &'static str {
    match (config.context, config.added.is_some()) {
        (768, false) => "SD 1.x",
        (1024, false) => "SD 2.x",
        (2048, _) => "SDXL",
        (1280, _) => "the SDXL refiner",
        _ => "a model of another shape",
    }
}

/// Reads the shape of the network at `p`.
pub(super) fn read_config(
    p: &Params,
    json: Option<&serde_json::Value>,
) -> std::result::Result<UnetConfig, ConfigError> {
    UnetConfig::read_control(p, json)
}
