//! From latents to pictures.

use candle_core::{Result, Tensor};

use crate::config::VaeConfig;
use crate::ops::{Conv2d, GroupNorm, silu, upsample_nearest};
use crate::weights::{Params, WeightError};

use super::blocks::{EPS, MidBlock, Resnet};

#[derive(Debug)]
pub(super) struct Decoder {
    conv_in: Conv2d,
    mid: MidBlock,
    up: Vec<UpBlock>,
    norm_out: GroupNorm,
    conv_out: Conv2d,
}

#[derive(Debug)]
struct UpBlock {
    resnets: Vec<Resnet>,
    upsampler: Option<Conv2d>,
}

impl Decoder {
    pub(super) fn load(p: &Params, config: &VaeConfig) -> std::result::Result<Self, WeightError> {
        let groups = config.norm_groups;
        let (first, last) = (config.channels[0], config.channels[config.channels.len() - 1]);
        let mut input = last;
        let mut up = Vec::new();
        for (n, channels) in config.channels.iter().rev().copied().enumerate() {
            let at = p.at("up_blocks").at(n);
            let mut resnets = Vec::new();
            for layer in 0..=config.layers {
                resnets.push(Resnet::load(&at.at("resnets").at(layer), groups, input, channels)?);
                input = channels;
            }
            let is_last = n + 1 == config.channels.len();
            let upsampler = if is_last {
                None
            } else {
                Some(Conv2d::load(&at.at("upsamplers.0.conv"), channels, channels, 3)?)
            };
            up.push(UpBlock { resnets, upsampler });
        }
        Ok(Self {
            conv_in: Conv2d::load(&p.at("conv_in"), config.latent_channels, last, 3)?,
            mid: MidBlock::load(&p.at("mid_block"), groups, last)?,
            up,
            norm_out: GroupNorm::load(&p.at("conv_norm_out"), groups, first, EPS)?,
            conv_out: Conv2d::load(&p.at("conv_out"), first, 3, 3)?,
        })
    }

    pub(super) fn forward(&self, latent: &Tensor) -> Result<Tensor> {
        let mut x = self.mid.forward(&self.conv_in.forward(latent)?)?;
        for block in &self.up {
            for resnet in &block.resnets {
                x = resnet.forward(&x)?;
            }
            if let Some(conv) = &block.upsampler {
                let (_, _, height, width) = x.dims4()?;
                x = conv.forward(&upsample_nearest(&x, height * 2, width * 2)?)?;
            }
        }
        self.conv_out.forward(&silu(&self.norm_out.forward(&x)?)?)
    }
}
