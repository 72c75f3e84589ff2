//! The text transformers of CLIP and OpenCLIP, named and behaving as `transformers`' `CLIPTextModel` and
//! `CLIPTextModelWithProjection`.

use candle_core::{Result, Tensor};

use crate::config::{ClipActivation, ClipConfig};
use crate::ops::{AttentionShape, LayerNorm, Linear, attention, gelu, quick_gelu};
use crate::weights::{Params, WeightError};

type Loaded<T> = std::result::Result<T, WeightError>;

/// Embeddings, layers, a last normalisation, perhaps a projection.
#[derive(Debug)]
pub struct ClipText {
    config: ClipConfig,
    tokens: Tensor,
    positions: Tensor,
    layers: Vec<Layer>,
    final_norm: LayerNorm,
    projection: Option<Linear>,
}

impl ClipText {
    /// Loads the network at `p` (`text.` or `text2.`).
    ///
    /// # Errors
    /// A tensor is missing, of another shape, or not finite.
    pub fn load(p: &Params, config: ClipConfig) -> Loaded<Self> {
        let width = config.width;
        let layers = (0..config.layers)
            .map(|n| Layer::load(&p.at("encoder.layers").at(n), &config))
            .collect::<Loaded<_>>()?;
        let projection = config
            .projection
            .map(|output| Linear::load_unbiased(&p.at("text_projection"), width, output))
            .transpose()?;
        Ok(Self {
            tokens: p.tensor("embeddings.token_embedding.weight", &[config.vocabulary, width])?,
            positions: p.tensor("embeddings.position_embedding.weight", &[config.positions, width])?,
            layers,
            final_norm: LayerNorm::load(&p.at("final_layer_norm"), width, config.norm_eps)?,
            projection,
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
        let rows = ids.iter().map(|row| self.embed(row, &[])).collect::<Result<Vec<_>>>()?;
        let (hidden, _) = self.layers(Tensor::cat(&rows, 0)?, clip_skip)?;
        self.normalise(&hidden)
    }

    /// What the layers read, `[1, length, width]`: tokens with `vectors` (`[count, width]`, from a position
    /// on, in order and apart) in place of some, and their positions. Length is at most the encoder's.
    pub(super) fn embed(&self, ids: &[u32], vectors: &[(usize, &Tensor)]) -> Result<Tensor> {
        let device = self.tokens.device();
        let rows = self.tokens.index_select(&Tensor::new(ids, device)?, 0)?;
        let mut parts = Vec::with_capacity(2 * vectors.len() + 1);
        let mut from = 0;
        for (position, vectors) in vectors {
            parts.push(rows.narrow(0, from, position - from)?);
            parts.push(vectors.to_device(device)?);
            from = position + vectors.dim(0)?;
        }
        parts.push(rows.narrow(0, from, ids.len() - from)?);
        let x = if parts.len() == 1 { parts.remove(0) } else { Tensor::cat(&parts, 0)? };
        (x + self.positions.narrow(0, 0, ids.len())?)?.unsqueeze(0)
    }

    /// The vectors of tokens, `[count, width]`.
    pub(crate) fn token_vectors(&self, ids: &[u32]) -> Result<Tensor> {
        self.tokens.index_select(&Tensor::new(ids, self.tokens.device())?, 0)
    }

    /// The state after the layer that `skip` names (1 is the last, 2 the one before, …; never before the
    /// first), and how many layers that took.
    pub(super) fn layers(&self, x: Tensor, skip: usize) -> Result<(Tensor, usize)> {
        let used = self.layers.len().saturating_sub(skip.saturating_sub(1));
        Ok((self.run(x, 0, used)?, used))
    }

    /// The text as one vector `[batch, projection]`: the state at `position` after all layers, normalised
    /// and projected. `hidden` is the state after `used` layers. None without a projection.
    pub(super) fn pooled(&self, hidden: &Tensor, used: usize, position: usize) -> Result<Option<Tensor>> {
        let Some(projection) = &self.projection else { return Ok(None) };
        let last = self.normalise(&self.run(hidden.clone(), used, self.layers.len())?)?;
        let at = last.narrow(1, position, 1)?.squeeze(1)?;
        projection.forward(&at.contiguous()?).map(Some)
    }

    /// The last normalisation.
    pub(super) fn normalise(&self, hidden: &Tensor) -> Result<Tensor> {
        self.final_norm.forward(hidden)
    }

    fn run(&self, mut x: Tensor, from: usize, to: usize) -> Result<Tensor> {
        for layer in &self.layers[from.min(to)..to] {
            x = layer.forward(&x)?;
        }
        Ok(x)
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::differences::{assert_gradients, variable};
    use crate::weights::Weights;

    fn small(activation: ClipActivation) -> ClipConfig {
        ClipConfig {
            vocabulary: 20,
            positions: 7,
            width: 8,
            feed_forward: 16,
            layers: 2,
            heads: 2,
            activation,
            norm_eps: 1e-5,
            projection: Some(6),
            last_layer_dropped: false,
        }
    }

    #[test]
    fn layers_pass_gradients_to_what_they_read() {
        for activation in [ClipActivation::QuickGelu, ClipActivation::Gelu] {
            let clip = ClipText::load(&Params::new(Weights::random(5)), small(activation)).unwrap();
            let x = variable(&[1, 7, 8], 1);
            assert_gradients("layer", &[&x], || clip.layers[0].forward(&x));
            assert_gradients("all layers", &[&x], || {
                clip.normalise(&clip.layers(x.as_tensor().clone(), 1)?.0)
            });
            assert_gradients("pooled", &[&x], || Ok(clip.pooled(&x, 0, 4)?.unwrap()));
        }
    }

    #[test]
    fn vectors_in_place_of_words_get_gradients() {
        let clip = ClipText::load(&Params::new(Weights::random(6)), small(ClipActivation::Gelu)).unwrap();
        let vectors = variable(&[2, 8], 1);
        let ids = [1, 0, 0, 5, 0, 0, 2];
        assert_gradients("embedding", &[&vectors], || {
            let x = clip.embed(&ids, &[(1, vectors.as_tensor()), (4, vectors.as_tensor())])?;
            Ok(clip.layers(x, 1)?.0)
        });
    }
}
