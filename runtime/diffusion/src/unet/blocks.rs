//! The levels of the UNet: down, middle, up.

use candle_core::{Result, Tensor};

use crate::config::UnetConfig;
use crate::ops::{Conv2d, upsample_nearest};
use crate::weights::{Params, WeightError};

use super::resnet::Resnet;
use super::transformer::{SpatialTransformer, TransformerShape};
use super::walk::Walk;

type Loaded<T> = std::result::Result<T, WeightError>;

/// What every block is given besides the picture.
#[derive(Debug, Clone, Copy)]
pub(super) struct Conditions<'a> {
    /// `[batch, time_channels]`, after its SiLU.
    pub time: &'a Tensor,
    /// `[batch, tokens, width]`.
    pub context: &'a Tensor,
}

/// A residual block and, on levels that read the text, a transformer.
#[derive(Debug)]
struct Layer {
    resnet: Resnet,
    attention: Option<SpatialTransformer>,
}

impl Layer {
    fn load(
        p: &Params,
        n: usize,
        config: &UnetConfig,
        input: usize,
        shape: TransformerShape,
    ) -> Loaded<Self> {
        let resnet = Resnet::load(&p.at("resnets").at(n), config, input, shape.channels)?;
        let attention = if shape.depth > 0 {
            Some(SpatialTransformer::load(&p.at("attentions").at(n), config, shape)?)
        } else {
            None
        };
        Ok(Self { resnet, attention })
    }

    /// On the way down.
    fn down<'n, W: Walk<'n>>(&'n self, x: &Tensor, c: Conditions, walk: &mut W) -> Result<Tensor> {
        walk.step([x, c.time, c.context], |[x, time, context]| self.forward(x, Conditions { time, context }))
    }

    /// On the way up, with what the way down kept.
    fn up<'n, W: Walk<'n>>(
        &'n self,
        x: &Tensor,
        skip: &Tensor,
        c: Conditions,
        walk: &mut W,
    ) -> Result<Tensor> {
        walk.step([x, skip, c.time, c.context], |[x, skip, time, context]| {
            self.forward(&Tensor::cat(&[x, skip], 1)?, Conditions { time, context })
        })
    }

    fn forward(&self, x: &Tensor, c: Conditions) -> Result<Tensor> {
        let x = self.resnet.forward(x, c.time)?;
        match &self.attention {
            Some(attention) => attention.forward(&x, c.context),
            None => Ok(x),
        }
    }
}

fn shape_of(config: &UnetConfig, level: usize) -> TransformerShape {
    TransformerShape {
        channels: config.channels[level],
        heads: config.heads[level],
        depth: config.depth[level],
    }
}

/// One level on the way down; every layer's and the downsampler's output is kept for the way up.
#[derive(Debug)]
pub(super) struct DownBlock {
    layers: Vec<Layer>,
    downsampler: Option<Conv2d>,
}

impl DownBlock {
    pub(super) fn load(p: &Params, config: &UnetConfig, level: usize, input: usize) -> Loaded<Self> {
        let shape = shape_of(config, level);
        let layers = (0..config.layers)
            .map(|n| Layer::load(p, n, config, if n == 0 { input } else { shape.channels }, shape))
            .collect::<Loaded<_>>()?;
        let last = level + 1 == config.channels.len();
        let downsampler = if last {
            None
        } else {
            let at = p.at("downsamplers.0.conv");
            Some(Conv2d::load_strided(&at, shape.channels, shape.channels, 3, 2, 1)?)
        };
        Ok(Self { layers, downsampler })
    }

    pub(super) fn forward<'n, W: Walk<'n>>(
        &'n self,
        x: Tensor,
        c: Conditions,
        skips: &mut Vec<Tensor>,
        walk: &mut W,
    ) -> Result<Tensor> {
        let mut x = x;
        for layer in &self.layers {
            x = layer.down(&x, c, walk)?;
            skips.push(x.clone());
        }
        if let Some(conv) = &self.downsampler {
            x = walk.step([&x], |[x]| conv.forward(x))?;
            skips.push(x.clone());
        }
        Ok(x)
    }
}

/// Residual block, transformer, residual block at the lowest resolution.
#[derive(Debug)]
pub(super) struct MidBlock {
    first: Resnet,
    attention: SpatialTransformer,
    second: Resnet,
}

impl MidBlock {
    pub(super) fn load(p: &Params, config: &UnetConfig) -> Loaded<Self> {
        let last = config.channels.len() - 1;
        let shape = TransformerShape { depth: config.mid_depth(), ..shape_of(config, last) };
        Ok(Self {
            first: Resnet::load(&p.at("resnets.0"), config, shape.channels, shape.channels)?,
            attention: SpatialTransformer::load(&p.at("attentions.0"), config, shape)?,
            second: Resnet::load(&p.at("resnets.1"), config, shape.channels, shape.channels)?,
        })
    }

    pub(super) fn forward<'n, W: Walk<'n>>(
        &'n self,
        x: &Tensor,
        c: Conditions,
        walk: &mut W,
    ) -> Result<Tensor> {
        walk.step([x, c.time, c.context], |[x, time, context]| {
            let x = self.first.forward(x, time)?;
            let x = self.attention.forward(&x, context)?;
            self.second.forward(&x, time)
        })
    }
}

/// One level on the way up.
#[derive(Debug)]
pub(super) struct UpBlock {
    layers: Vec<Layer>,
    upsampler: Option<Conv2d>,
}

impl UpBlock {
    /// `level` counts as on the way down; `skips` holds the channels of what the way down kept.
    pub(super) fn load(
        p: &Params,
        config: &UnetConfig,
        level: usize,
        input: usize,
        skips: &mut Vec<usize>,
    ) -> Loaded<Self> {
        let shape = shape_of(config, level);
        let mut layers = Vec::new();
        let mut channels = input;
        for n in 0..=config.layers {
            let skip = skips.pop().expect("the way up has as many layers as the way down kept outputs");
            layers.push(Layer::load(p, n, config, channels + skip, shape)?);
            channels = shape.channels;
        }
        let upsampler = if level == 0 {
            None
        } else {
            Some(Conv2d::load(&p.at("upsamplers.0.conv"), shape.channels, shape.channels, 3)?)
        };
        Ok(Self { layers, upsampler })
    }

    /// Upsamples to the size of the next skip, which is not always the double: a height of 9 became 5.
    pub(super) fn forward<'n, W: Walk<'n>>(
        &'n self,
        x: Tensor,
        c: Conditions,
        skips: &mut Vec<Tensor>,
        walk: &mut W,
    ) -> Result<Tensor> {
        let mut x = x;
        for layer in &self.layers {
            let skip = skips.pop().ok_or_else(|| candle_core::Error::Msg("no skip is left".into()))?;
            x = layer.up(&x, &skip, c, walk)?;
        }
        if let (Some(conv), Some(next)) = (&self.upsampler, skips.last()) {
            let (_, _, height, width) = next.dims4()?;
            x = walk.step([&x], move |[x]| conv.forward(&upsample_nearest(x, height, width)?))?;
        }
        Ok(x)
    }
}
