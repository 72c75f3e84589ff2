//! The residual block, given the time embedding between its two convolutions.

use candle_core::{Result, Tensor};

use crate::config::UnetConfig;
use crate::ops::{Conv2d, GroupNorm, Linear, silu};
use crate::weights::{Params, WeightError};

#[derive(Debug)]
pub(super) struct Resnet {
    norm1: GroupNorm,
    conv1: Conv2d,
    time_emb_proj: Linear,
    norm2: GroupNorm,
    conv2: Conv2d,
    conv_shortcut: Option<Conv2d>,
}

impl Resnet {
    pub(super) fn load(
        p: &Params,
        config: &UnetConfig,
        input: usize,
        output: usize,
    ) -> std::result::Result<Self, WeightError> {
        let (groups, eps) = (config.norm_groups, config.norm_eps);
        let conv_shortcut = if input == output {
            None
        } else {
            Some(Conv2d::load(&p.at("conv_shortcut"), input, output, 1)?)
        };
        Ok(Self {
            norm1: GroupNorm::load(&p.at("norm1"), groups, input, eps)?,
            conv1: Conv2d::load(&p.at("conv1"), input, output, 3)?,
            time_emb_proj: Linear::load(&p.at("time_emb_proj"), config.time_channels, output)?,
            norm2: GroupNorm::load(&p.at("norm2"), groups, output, eps)?,
            conv2: Conv2d::load(&p.at("conv2"), output, output, 3)?,
            conv_shortcut,
        })
    }

    /// `x: [batch, input, h, w]`, `time: [batch, time_channels]` after its SiLU.
    pub(super) fn forward(&self, x: &Tensor, time: &Tensor) -> Result<Tensor> {
        let h = self.conv1.forward(&silu(&self.norm1.forward(x)?)?)?;
        let shift = self.time_emb_proj.forward(time)?;
        let (batch, channels) = shift.dims2()?;
        let h = h.broadcast_add(&shift.reshape((batch, channels, 1, 1))?)?;
        let h = self.conv2.forward(&silu(&self.norm2.forward(&h)?)?)?;
        match &self.conv_shortcut {
            Some(conv) => conv.forward(x)? + h,
            None => x + h,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::differences::{assert_gradients, variable};
    use crate::unet::tests::small;
    use crate::weights::Weights;

    #[test]
    fn a_block_passes_gradients_to_the_picture_and_the_time() {
        for (input, output) in [(8, 8), (8, 12)] {
            let block = Resnet::load(&Params::new(Weights::random(3)), &small(), input, output).unwrap();
            let (x, time) = (variable(&[2, input, 4, 5], 1), variable(&[2, 16], 2));
            assert_gradients("resnet", &[&x, &time], || block.forward(&x, &time));
        }
    }
}
