//! The spatial transformer: self-attention over positions, cross-attention to the text.

use std::sync::Arc;

use candle_core::{Result, Tensor};

use crate::config::UnetConfig;
use crate::ops::{AttentionShape, Conv2d, GroupNorm, LayerNorm, Linear, attention, geglu};
use crate::weights::{ContextPatch, Params, WeightError};

type Loaded<T> = std::result::Result<T, WeightError>;

/// diffusers' `Transformer2DModel`.
#[derive(Debug)]
pub(super) struct SpatialTransformer {
    norm: GroupNorm,
    proj_in: Projection,
    blocks: Vec<Block>,
    proj_out: Projection,
}

/// What stands around the blocks: 1x1 convolutions in SD 1.x, matrices in later models. They are the
/// same function, but round differently.
#[derive(Debug)]
enum Projection {
    Conv(Conv2d),
    Linear(Linear),
}

impl Projection {
    fn load(p: &Params, config: &UnetConfig, channels: usize) -> Loaded<Self> {
        Ok(if config.linear_projection {
            Self::Linear(Linear::load(p, channels, channels)?)
        } else {
            Self::Conv(Conv2d::load(p, channels, channels, 1)?)
        })
    }

    /// `[batch, channels, h, w]` to `[batch, h·w, channels]`.
    fn enter(&self, x: &Tensor) -> Result<Tensor> {
        match self {
            Self::Conv(conv) => flatten(&conv.forward(x)?),
            Self::Linear(linear) => linear.forward(&flatten(x)?),
        }
    }

    /// The way back, to the shape of `like`.
    fn leave(&self, x: &Tensor, like: &Tensor) -> Result<Tensor> {
        let unflatten = |x: &Tensor| x.transpose(1, 2)?.contiguous()?.reshape(like.shape());
        match self {
            Self::Conv(conv) => conv.forward(&unflatten(x)?),
            Self::Linear(linear) => unflatten(&linear.forward(x)?),
        }
    }
}

fn flatten(x: &Tensor) -> Result<Tensor> {
    x.flatten_from(2)?.transpose(1, 2)?.contiguous()
}

/// How a level's transformers are built.
#[derive(Debug, Clone, Copy)]
pub(super) struct TransformerShape {
    pub channels: usize,
    pub heads: usize,
    pub depth: usize,
}

impl SpatialTransformer {
    pub(super) fn load(p: &Params, config: &UnetConfig, shape: TransformerShape) -> Loaded<Self> {
        let channels = shape.channels;
        let blocks = (0..shape.depth)
            .map(|n| Block::load(&p.at("transformer_blocks").at(n), shape, config.context))
            .collect::<Loaded<_>>()?;
        Ok(Self {
            // This norm's epsilon is 1e-6 whatever the UNet's own is.
            norm: GroupNorm::load(&p.at("norm"), config.norm_groups, channels, 1e-6)?,
            proj_in: Projection::load(&p.at("proj_in"), config, channels)?,
            blocks,
            proj_out: Projection::load(&p.at("proj_out"), config, channels)?,
        })
    }

    /// `x: [batch, channels, h, w]`, `context: [batch, tokens, width]`.
    pub(super) fn forward(&self, x: &Tensor, context: &Tensor) -> Result<Tensor> {
        let mut h = self.proj_in.enter(&self.norm.forward(x)?)?;
        for block in &self.blocks {
            h = block.forward(&h, context)?;
        }
        self.proj_out.leave(&h, x)? + x
    }
}

#[derive(Debug)]
struct Block {
    norm1: LayerNorm,
    attn1: Attention,
    norm2: LayerNorm,
    attn2: Attention,
    norm3: LayerNorm,
    geglu_proj: Linear,
    ff_out: Linear,
}

impl Block {
    fn load(p: &Params, shape: TransformerShape, context: usize) -> Loaded<Self> {
        let channels = shape.channels;
        let inner = channels * 4;
        Ok(Self {
            norm1: LayerNorm::load(&p.at("norm1"), channels, 1e-5)?,
            attn1: Attention::load(&p.at("attn1"), shape, channels)?,
            norm2: LayerNorm::load(&p.at("norm2"), channels, 1e-5)?,
            attn2: Attention::load(&p.at("attn2"), shape, context)?,
            norm3: LayerNorm::load(&p.at("norm3"), channels, 1e-5)?,
            geglu_proj: Linear::load(&p.at("ff.net.0.proj"), channels, inner * 2)?,
            ff_out: Linear::load(&p.at("ff.net.2"), inner, channels)?,
        })
    }

    fn forward(&self, x: &Tensor, context: &Tensor) -> Result<Tensor> {
        let normal = self.norm1.forward(x)?;
        let x = (self.attn1.forward(&normal, &normal)? + x)?;
        let x = (self.attn2.forward(&self.norm2.forward(&x)?, context)? + x)?;
        let inner = geglu(&self.geglu_proj.forward(&self.norm3.forward(&x)?)?)?;
        self.ff_out.forward(&inner)? + x
    }
}

#[derive(Debug)]
struct Attention {
    to_q: Linear,
    to_k: Linear,
    to_v: Linear,
    to_out: Linear,
    heads: usize,
    /// Hypernetworks.
    contexts: Vec<Arc<dyn ContextPatch>>,
}

impl Attention {
    /// `context` is the width of what keys and values are made of.
    fn load(p: &Params, shape: TransformerShape, context: usize) -> Loaded<Self> {
        let channels = shape.channels;
        Ok(Self {
            to_q: Linear::load_unbiased(&p.at("to_q"), channels, channels)?,
            to_k: Linear::load_unbiased(&p.at("to_k"), context, channels)?,
            to_v: Linear::load_unbiased(&p.at("to_v"), context, channels)?,
            to_out: Linear::load(&p.at("to_out.0"), channels, channels)?,
            heads: shape.heads,
            contexts: p.options().contexts.clone(),
        })
    }

    fn forward(&self, x: &Tensor, context: &Tensor) -> Result<Tensor> {
        let q = self.to_q.forward(x)?;
        let (mut of_keys, mut of_values) = (context.clone(), context.clone());
        for patch in &self.contexts {
            if let Some(changed) = patch.apply(&of_keys, &of_values)? {
                (of_keys, of_values) = changed;
            }
        }
        let k = self.to_k.forward(&of_keys)?;
        let v = self.to_v.forward(&of_values)?;
        let shape = AttentionShape { heads: self.heads, causal: false };
        self.to_out.forward(&attention(&q, &k, &v, shape)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::differences::{assert_gradients, variable};
    use crate::unet::tests::small;
    use crate::weights::Weights;

    #[test]
    fn a_transformer_passes_gradients_to_the_picture_and_the_text() {
        for linear_projection in [false, true] {
            let config = UnetConfig { linear_projection, ..small() };
            let shape = TransformerShape { channels: 8, heads: 2, depth: 2 };
            // Convolutions and matrices are stored differently; random weights have what is asked for.
            let p = Params::new(Weights::random(4));
            let transformer = SpatialTransformer::load(&p, &config, shape).unwrap();
            let (x, context) = (variable(&[2, 8, 3, 4], 1), variable(&[2, 5, 6], 2));
            assert_gradients("transformer", &[&x, &context], || transformer.forward(&x, &context));
        }
    }
}
