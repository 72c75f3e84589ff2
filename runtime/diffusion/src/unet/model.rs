//! The whole network.

use candle_core::{Result, Tensor};

use crate::config::UnetConfig;
use crate::ops::{Conv2d, GroupNorm, silu};
use crate::weights::{Params, WeightError};

use super::blocks::{Conditions, UpBlock};
use super::encoder::{Encoded, Encoder, skip_channels};
use super::input::{ControlResiduals, UnetInput};

/// Predicts the noise in a latent.
#[derive(Debug)]
pub struct Unet {
    config: UnetConfig,
    encoder: Encoder,
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
        let mut kept = skip_channels(&config);
        let mut channels = config.channels[levels - 1];
        let mut up = Vec::new();
        for (n, level) in (0..levels).rev().enumerate() {
            up.push(UpBlock::load(&p.at("up_blocks").at(n), &config, level, channels, &mut kept)?);
            channels = config.channels[level];
        }
        Ok(Self {
            encoder: Encoder::load(p, &config)?,
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
        let Encoded { time, mut skips, mid: mut x } = self.encoder.forward(input, None)?;
        let c = Conditions { time: &time, context: input.context };
        if let Some(control) = input.control {
            add_control(control, &mut skips, &mut x)?;
        }
        for block in &self.up {
            x = block.forward(x, c, &mut skips)?;
        }
        self.conv_out.forward(&silu(&self.norm_out.forward(&x)?)?)
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
