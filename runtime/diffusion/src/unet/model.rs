//! The whole network.

use candle_core::{Result, Tensor};

use crate::config::UnetConfig;
use crate::ops::{Conv2d, GroupNorm, silu};
use crate::weights::{Params, WeightError};

use super::blocks::{Conditions, DownBlock, MidBlock, UpBlock};
use super::embedding::{AddEmbedding, TimeEmbedding};
use super::input::{ControlResiduals, UnetInput};

/// Predicts the noise in a latent.
#[derive(Debug)]
pub struct Unet {
    config: UnetConfig,
    conv_in: Conv2d,
    time_embedding: TimeEmbedding,
    add_embedding: Option<AddEmbedding>,
    down: Vec<DownBlock>,
    mid: MidBlock,
    up: Vec<UpBlock>,
    norm_out: GroupNorm,
    conv_out: Conv2d,
}

impl Unet {
    /// Loads the network at `p` (`unet.`).
    ///
    /// # Errors
    /// A tensor is missing, of another shape, or not finite.
    pub fn load(p: &Params, config: UnetConfig) -> std::result::Result<Self, WeightError> {
        let first = config.channels[0];
        let levels = config.channels.len();
        let mut kept = vec![first];
        let mut down = Vec::new();
        let mut channels = first;
        for level in 0..levels {
            down.push(DownBlock::load(&p.at("down_blocks").at(level), &config, level, channels)?);
            channels = config.channels[level];
            let downsampled = usize::from(level + 1 < levels);
            kept.extend(std::iter::repeat_n(channels, config.layers + downsampled));
        }
        let mid = MidBlock::load(&p.at("mid_block"), &config)?;
        let mut up = Vec::new();
        for (n, level) in (0..levels).rev().enumerate() {
            up.push(UpBlock::load(&p.at("up_blocks").at(n), &config, level, channels, &mut kept)?);
            channels = config.channels[level];
        }
        Ok(Self {
            conv_in: Conv2d::load(&p.at("conv_in"), config.in_channels, first, 3)?,
            time_embedding: TimeEmbedding::load(&p.at("time_embedding"), &config)?,
            add_embedding: match config.added {
                Some(input) => Some(AddEmbedding::load(&p.at("add_embedding"), input, config.time_channels)?),
                None => None,
            },
            down,
            mid,
            up,
            norm_out: GroupNorm::load(&p.at("conv_norm_out"), config.norm_groups, first, config.norm_eps)?,
            conv_out: Conv2d::load(&p.at("conv_out"), first, config.out_channels, 3)?,
            config,
        })
    }

    /// The shape it was built with.
    pub fn config(&self) -> &UnetConfig {
        &self.config
    }

    /// The prediction, `[batch, out_channels, h, w]`.
    ///
    /// # Errors
    /// A tensor has another shape than this model reads, or SDXL's added conditions are missing.
    pub fn forward(&self, input: &UnetInput) -> Result<Tensor> {
        let time = silu(&self.time(input)?)?;
        let c = Conditions { time: &time, context: input.context };
        let mut x = self.conv_in.forward(input.x)?;
        let mut skips = vec![x.clone()];
        for block in &self.down {
            x = block.forward(x, c, &mut skips)?;
        }
        x = self.mid.forward(&x, c)?;
        if let Some(control) = input.control {
            add_control(control, &mut skips, &mut x)?;
        }
        for block in &self.up {
            x = block.forward(x, c, &mut skips)?;
        }
        self.conv_out.forward(&silu(&self.norm_out.forward(&x)?)?)
    }

    fn time(&self, input: &UnetInput) -> Result<Tensor> {
        let time = self.time_embedding.forward(input.timesteps, input.guidance)?;
        match (&self.add_embedding, input.added) {
            (Some(layers), Some(added)) => time + layers.forward(added)?,
            (Some(_), None) => {
                Err(candle_core::Error::Msg("this UNet reads pooled text and micro-conditions".into()))
            }
            (None, _) => Ok(time),
        }
    }
}

fn add_control(control: &ControlResiduals, skips: &mut [Tensor], mid: &mut Tensor) -> Result<()> {
    if control.down.len() != skips.len() {
        let message =
            format!("a ControlNet of {} residuals, a UNet of {} skips", control.down.len(), skips.len());
        return Err(candle_core::Error::Msg(message));
    }
    for (skip, residual) in skips.iter_mut().zip(&control.down) {
        *skip = (&*skip + residual)?;
    }
    *mid = (&*mid + &control.mid)?;
    Ok(())
}
