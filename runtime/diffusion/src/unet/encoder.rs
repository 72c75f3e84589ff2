//! The way down and the middle: what a UNet and its ControlNets have in common.

use candle_core::{Result, Tensor};

use crate::config::UnetConfig;
use crate::ops::{Conv2d, silu};
use crate::weights::{Params, WeightError};

use super::blocks::{Conditions, DownBlock, MidBlock};
use super::embedding::{AddEmbedding, TimeEmbedding};
use super::input::UnetInput;
use super::walk::Walk;

#[derive(Debug)]
pub(crate) struct Encoder {
    conv_in: Conv2d,
    time_embedding: TimeEmbedding,
    add_embedding: Option<AddEmbedding>,
    down: Vec<DownBlock>,
    mid: MidBlock,
}

/// What the way up is given.
pub(crate) struct Encoded {
    /// `[batch, time_channels]`, after its SiLU.
    pub time: Tensor,
    /// As many as [`skip_channels`] says.
    pub skips: Vec<Tensor>,
    pub mid: Tensor,
}

impl Encoder {
    /// Loads the blocks at `p` (`unet.` or `control.`).
    ///
    /// # Errors
    /// A tensor is missing, of another shape, or not finite.
    pub(crate) fn load(p: &Params, config: &UnetConfig) -> std::result::Result<Self, WeightError> {
        let first = config.channels[0];
        let mut down = Vec::new();
        let mut channels = first;
        for level in 0..config.channels.len() {
            down.push(DownBlock::load(&p.at("down_blocks").at(level), config, level, channels)?);
            channels = config.channels[level];
        }
        Ok(Self {
            conv_in: Conv2d::load(&p.at("conv_in"), config.in_channels, first, 3)?,
            time_embedding: TimeEmbedding::load(&p.at("time_embedding"), config)?,
            add_embedding: match config.added {
                Some(input) => Some(AddEmbedding::load(&p.at("add_embedding"), input, config.time_channels)?),
                None => None,
            },
            down,
            mid: MidBlock::load(&p.at("mid_block"), config)?,
        })
    }

    /// Runs the blocks. `hint`, of the shape of the first convolution's output, is added to it.
    ///
    /// # Errors
    /// A tensor has another shape than this model reads, or SDXL's added conditions are missing.
    pub(crate) fn forward<'n, W: Walk<'n>>(
        &'n self,
        input: &UnetInput,
        hint: Option<&Tensor>,
        walk: &mut W,
    ) -> Result<Encoded> {
        let time = self.time(input, walk)?;
        let c = Conditions { time: &time, context: input.context };
        let hint = hint.cloned();
        let mut x = walk.step([input.x], move |[x]| {
            let x = self.conv_in.forward(x)?;
            match &hint {
                Some(hint) => x.broadcast_add(hint),
                None => Ok(x),
            }
        })?;
        let mut skips = vec![x.clone()];
        for block in &self.down {
            x = block.forward(x, c, &mut skips, walk)?;
        }
        let mid = self.mid.forward(&x, c, walk)?;
        Ok(Encoded { time, skips, mid })
    }

    fn time<'n, W: Walk<'n>>(&'n self, input: &UnetInput, walk: &mut W) -> Result<Tensor> {
        let (timesteps, guidance) = (input.timesteps.clone(), input.guidance.cloned());
        let time = move || self.time_embedding.forward(&timesteps, guidance.as_ref());
        match (&self.add_embedding, input.added) {
            (Some(layers), Some(added)) => {
                walk.step([added], move |[added]| silu(&(time()? + layers.forward(added)?)?))
            }
            (Some(_), None) => {
                Err(candle_core::Error::Msg("this UNet reads pooled text and micro-conditions".into()))
            }
            (None, _) => walk.step([], move |[]| silu(&time()?)),
        }
    }
}

/// The channels of what the way down keeps for the way up, in its order.
pub(crate) fn skip_channels(config: &UnetConfig) -> Vec<usize> {
    let levels = config.channels.len();
    let mut kept = vec![config.channels[0]];
    for (level, channels) in config.channels.iter().enumerate() {
        let downsampled = usize::from(level + 1 < levels);
        kept.extend(std::iter::repeat_n(*channels, config.layers + downsampled));
    }
    kept
}
