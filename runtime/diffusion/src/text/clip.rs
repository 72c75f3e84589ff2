//! The text transformer of CLIP, named and behaving as `transformers`' `CLIPTextModel`.

use candle_core::{Device, Result, Tensor};

use crate::config::{ClipActivation, ClipConfig};
use crate::ops::{AttentionShape, LayerNorm, Linear, attention, gelu, quick_gelu};
use crate::weights::{Params, WeightError};

type Loaded<T> = std::result::Result<T, WeightError>;

/// Embeddings, layers, a last normalisation.
#[derive(Debug)]
pub struct ClipText {
    config: ClipConfig,
    tokens: Tensor,
    positions: Tensor,
    layers: Vec<Layer>,
    final_norm: LayerNorm,
}

impl ClipText {
    /// Loads the network at `p` (`text.`).
    ///
    /// # Errors
    /// A tensor is missing, of another shape, or not finite.
    pub fn load(p: &Params, config: ClipConfig) -> Loaded<Self> {
        let width = config.width;
        let layers = (0..config.layers)
            .map(|n| Layer::load(&p.at("encoder.layers").at(n), &config))
            .collect::<Loaded<_>>()?;
        Ok(Self {
            tokens: p.tensor("embeddings.token_embedding.weight", &[config.vocabulary, width])?,
            positions: p.tensor("embeddings.position_embedding.weight", &[config.positions, width])?,
            layers,
            final_norm: LayerNorm::load(&p.at("final_layer_norm"), width, config.norm_eps)?,
            config,
        })
    }

    /// The shape it was built with.
    pub fn config(&self) -> &ClipConfig {
        &self.config
    }

    /// Hidden states `[batch, length, width]` of rows of ids, all of one length; `clip_skip` 1 takes the
    /// last layer, 2 the one before, and so on, each through the last normalisation (as A1111 does).
    pub fn forward(&self, ids: &[Vec<u32>], clip_skip: usize) -> Result<Tensor> {
        let length = ids.first().map_or(0, Vec::len);
        let flat: Vec<u32> = ids.iter().flatten().copied().collect();
        let flat = Tensor::from_vec(flat, ids.len() * length, &Device::Cpu)?;
        let embedded = self.tokens.index_select(&flat, 0)?.reshape((ids.len(), length, self.config.width))?;
        let mut x = embedded.broadcast_add(&self.positions.narrow(0, 0, length)?)?;
        let used = self.layers.len().saturating_sub(clip_skip.saturating_sub(1));
        for layer in &self.layers[..used] {
            x = layer.forward(&x)?;
        }
        self.final_norm.forward(&x)
    }
}

#[derive(Debug)]
struct Layer {
    norm1: LayerNorm,
    q: Linear,
    k: Linear,
    v: Linear,
    out: Linear,
    norm2: LayerNorm,
    fc1: Linear,
    fc2: Linear,
    heads: usize,
    activation: ClipActivation,
}

impl Layer {
    fn load(p: &Params, config: &ClipConfig) -> Loaded<Self> {
        let width = config.width;
        let attn = p.at("self_attn");
        Ok(Self {
            norm1: LayerNorm::load(&p.at("layer_norm1"), width, config.norm_eps)?,
            q: Linear::load(&attn.at("q_proj"), width, width)?,
            k: Linear::load(&attn.at("k_proj"), width, width)?,
            v: Linear::load(&attn.at("v_proj"), width, width)?,
            out: Linear::load(&attn.at("out_proj"), width, width)?,
            norm2: LayerNorm::load(&p.at("layer_norm2"), width, config.norm_eps)?,
            fc1: Linear::load(&p.at("mlp.fc1"), width, config.feed_forward)?,
            fc2: Linear::load(&p.at("mlp.fc2"), config.feed_forward, width)?,
            heads: config.heads,
            activation: config.activation,
        })
    }

    fn forward(&self, x: &Tensor) -> Result<Tensor> {
        let normal = self.norm1.forward(x)?;
        let (q, k, v) = (self.q.forward(&normal)?, self.k.forward(&normal)?, self.v.forward(&normal)?);
        let shape = AttentionShape { heads: self.heads, causal: true };
        let x = (self.out.forward(&attention(&q, &k, &v, shape)?)? + x)?;
        let inner = self.fc1.forward(&self.norm2.forward(&x)?)?;
        let inner = match self.activation {
            ClipActivation::QuickGelu => quick_gelu(&inner)?,
            ClipActivation::Gelu => gelu(&inner)?,
        };
        self.fc2.forward(&inner)? + x
    }
}
