//! The whole network.

use candle_core::{Result, Tensor};

use crate::config::UnetConfig;
use crate::ops::{Conv2d, GroupNorm, silu};
use crate::weights::{Params, WeightError};

use super::blocks::{Conditions, UpBlock};
use super::encoder::{Encoded, Encoder, skip_channels};
use super::input::{ControlResiduals, UnetInput};
use super::walk::{Direct, Walk};

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
        self.walk(input, &mut Direct)
    }

    /// The prediction by the steps that `walk` computes; a step is about a residual block with its
    /// transformer.
    ///
    /// # Errors
    /// As for [`Unet::forward`].
    pub(crate) fn walk<'n, W: Walk<'n>>(&'n self, input: &UnetInput, walk: &mut W) -> Result<Tensor> {
        let Encoded { time, mut skips, mid: mut x } = self.encoder.forward(input, None, walk)?;
        let c = Conditions { time: &time, context: input.context };
        if let Some(control) = input.control {
            add_control(control, &mut skips, &mut x, walk)?;
        }
        for block in &self.up {
            x = block.forward(x, c, &mut skips, walk)?;
        }
        walk.step([&x], |[x]| self.conv_out.forward(&silu(&self.norm_out.forward(x)?)?))
    }
}

fn add_control<'n, W: Walk<'n>>(
    control: &ControlResiduals,
    skips: &mut [Tensor],
    mid: &mut Tensor,
    walk: &mut W,
) -> Result<()> {
    if control.down.len() != skips.len() {
        let message =
            format!("a ControlNet of {} residuals, a UNet of {} skips", control.down.len(), skips.len());
        return Err(candle_core::Error::Msg(message));
    }
    for (skip, residual) in skips.iter_mut().zip(&control.down) {
        *skip = walk.step([&*skip, residual], |[skip, residual]| skip + residual)?;
    }
    *mid = walk.step([&*mid, &control.mid], |[mid, residual]| mid + residual)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::differences::{assert_gradients, noise, variable};
    use crate::unet::tests::small;
    use crate::weights::Weights;

    /// Down, middle and up with their skips and samplers, of a size that does not halve evenly.
    #[test]
    fn the_network_passes_gradients_to_picture_text_and_added_conditions() {
        let config = UnetConfig { added: Some(5), ..small() };
        let unet = Unet::load(&Params::new(Weights::random(7)), config).unwrap();
        let (x, context) = (variable(&[2, 4, 5, 6], 1), variable(&[2, 3, 6], 2));
        let added = variable(&[2, 5], 3);
        let timesteps = (noise(&[2], 4).abs().unwrap() * 300.0).unwrap();
        assert_gradients("unet", &[&x, &context, &added], || {
            let input = UnetInput { added: Some(&added), ..UnetInput::new(&x, &timesteps, &context) };
            unet.forward(&input)
        });
    }
}
