//! From pictures to the mean and the spread of latents.

use candle_core::{Result, Tensor};

use crate::config::VaeConfig;
use crate::ops::{Conv2d, GroupNorm, pad_right_bottom, silu};
use crate::weights::{Params, WeightError};

use super::blocks::{EPS, MidBlock, Resnet};

#[derive(Debug)]
pub(super) struct Encoder {
    conv_in: Conv2d,
    down: Vec<DownBlock>,
    mid: MidBlock,
    norm_out: GroupNorm,
    conv_out: Conv2d,
}

#[derive(Debug)]
struct DownBlock {
    resnets: Vec<Resnet>,
    downsampler: Option<Conv2d>,
}

impl Encoder {
    pub(super) fn load(p: &Params, config: &VaeConfig) -> std::result::Result<Self, WeightError> {
        let groups = config.norm_groups;
        let (first, last) = (config.channels[0], config.channels[config.channels.len() - 1]);
        let mut input = first;
        let mut down = Vec::new();
        for (level, channels) in config.channels.iter().copied().enumerate() {
            let at = p.at("down_blocks").at(level);
            let mut resnets = Vec::new();
            for layer in 0..config.layers {
                resnets.push(Resnet::load(&at.at("resnets").at(layer), groups, input, channels)?);
                input = channels;
            }
            let is_last = level + 1 == config.channels.len();
            let downsampler = if is_last {
                None
            } else {
                let at = at.at("downsamplers.0.conv");
                Some(Conv2d::load_strided(&at, channels, channels, 3, 2, 0)?)
            };
            down.push(DownBlock { resnets, downsampler });
        }
        Ok(Self {
            conv_in: Conv2d::load(&p.at("conv_in"), 3, first, 3)?,
            down,
            mid: MidBlock::load(&p.at("mid_block"), groups, last)?,
            norm_out: GroupNorm::load(&p.at("conv_norm_out"), groups, last, EPS)?,
            conv_out: Conv2d::load(&p.at("conv_out"), last, config.latent_channels * 2, 3)?,
        })
    }

    pub(super) fn forward(&self, picture: &Tensor) -> Result<Tensor> {
        let mut x = self.conv_in.forward(picture)?;
        for block in &self.down {
            for resnet in &block.resnets {
                x = resnet.forward(&x)?;
            }
            if let Some(conv) = &block.downsampler {
                x = conv.forward(&pad_right_bottom(&x)?)?;
            }
        }
        let x = self.mid.forward(&x)?;
        self.conv_out.forward(&silu(&self.norm_out.forward(&x)?)?)
    }
}
