//! Blocks that the encoder and the decoder share.

use candle_core::{Result, Tensor};

use crate::ops::{AttentionShape, Conv2d, GroupNorm, Linear, attention, silu};
use crate::weights::{Params, WeightError};

type Loaded<T> = std::result::Result<T, WeightError>;

/// Epsilon of every normalisation in the autoencoder.
pub(super) const EPS: f64 = 1e-6;

/// A residual block without a time embedding.
#[derive(Debug)]
pub(super) struct Resnet {
    norm1: GroupNorm,
    conv1: Conv2d,
    norm2: GroupNorm,
    conv2: Conv2d,
    conv_shortcut: Option<Conv2d>,
}

impl Resnet {
    pub(super) fn load(p: &Params, groups: usize, input: usize, output: usize) -> Loaded<Self> {
        let conv_shortcut = if input == output {
            None
        } else {
            Some(Conv2d::load(&p.at("conv_shortcut"), input, output, 1)?)
        };
        Ok(Self {
            norm1: GroupNorm::load(&p.at("norm1"), groups, input, EPS)?,
            conv1: Conv2d::load(&p.at("conv1"), input, output, 3)?,
            norm2: GroupNorm::load(&p.at("norm2"), groups, output, EPS)?,
            conv2: Conv2d::load(&p.at("conv2"), output, output, 3)?,
            conv_shortcut,
        })
    }

    pub(super) fn forward(&self, x: &Tensor) -> Result<Tensor> {
        let h = self.conv1.forward(&silu(&self.norm1.forward(x)?)?)?;
        let h = self.conv2.forward(&silu(&self.norm2.forward(&h)?)?)?;
        match &self.conv_shortcut {
            Some(conv) => conv.forward(x)? + h,
            None => x + h,
        }
    }
}

/// Residual block, attention over all positions with one head, residual block.
#[derive(Debug)]
pub(super) struct MidBlock {
    first: Resnet,
    norm: GroupNorm,
    to_q: Linear,
    to_k: Linear,
    to_v: Linear,
    to_out: Linear,
    second: Resnet,
}

impl MidBlock {
    pub(super) fn load(p: &Params, groups: usize, channels: usize) -> Loaded<Self> {
        let at = p.at("attentions.0");
        let linear = |name: &str| Linear::load(&at.at(name), channels, channels);
        Ok(Self {
            first: Resnet::load(&p.at("resnets.0"), groups, channels, channels)?,
            norm: GroupNorm::load(&at.at("group_norm"), groups, channels, EPS)?,
            to_q: linear("to_q")?,
            to_k: linear("to_k")?,
            to_v: linear("to_v")?,
            to_out: linear("to_out.0")?,
            second: Resnet::load(&p.at("resnets.1"), groups, channels, channels)?,
        })
    }

    pub(super) fn forward(&self, x: &Tensor) -> Result<Tensor> {
        let x = self.first.forward(x)?;
        self.second.forward(&(self.attend(&x)? + x)?)
    }

    fn attend(&self, x: &Tensor) -> Result<Tensor> {
        let (batch, channels, height, width) = x.dims4()?;
        let h = self.norm.forward(x)?.reshape((batch, channels, height * width))?;
        let h = h.transpose(1, 2)?.contiguous()?;
        let (q, k, v) = (self.to_q.forward(&h)?, self.to_k.forward(&h)?, self.to_v.forward(&h)?);
        let h = attention(&q, &k, &v, AttentionShape { heads: 1, causal: false })?;
        let h = self.to_out.forward(&h)?;
        h.transpose(1, 2)?.contiguous()?.reshape((batch, channels, height, width))
    }
}
