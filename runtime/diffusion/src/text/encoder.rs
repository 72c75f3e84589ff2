//! Prompts to contexts: chunks encoded, emphasis applied, chunks joined.

use candle_core::{Device, Result, Tensor};

use super::chunks::{Chunk, chunk_prompt};
use super::clip::ClipText;
use super::tokenizer::Tokenizer;

/// What a UNet reads of a prompt.
#[derive(Debug, Clone)]
pub struct Conditioning {
    /// `[1, 77 · chunks, width]`.
    pub context: Tensor,
    /// `[1, width]`: the text as one vector, which only SDXL models read.
    pub pooled: Option<Tensor>,
}

/// The text encoder and its tokenizer.
#[derive(Debug)]
pub struct TextEncoder {
    clip: ClipText,
    tokenizer: &'static Tokenizer,
}

impl TextEncoder {
    /// Joins a loaded network with the process's tokenizer.
    pub fn new(clip: ClipText) -> Self {
        Self { clip, tokenizer: Tokenizer::shared() }
    }

    /// The network.
    pub fn clip(&self) -> &ClipText {
        &self.clip
    }

    /// Encodes a prompt of any length.
    pub fn encode(&self, prompt: &str, clip_skip: usize) -> Result<Conditioning> {
        let chunks = chunk_prompt(prompt, self.tokenizer, self.clip.config().positions);
        let ids: Vec<Vec<u32>> = chunks.iter().map(|c| c.tokens.clone()).collect();
        let hidden = self.clip.forward(&ids, clip_skip)?;
        let mut parts = Vec::with_capacity(chunks.len());
        for (i, chunk) in chunks.iter().enumerate() {
            parts.push(emphasise(&hidden.narrow(0, i, 1)?, chunk)?);
        }
        Ok(Conditioning { context: Tensor::cat(&parts, 1)?, pooled: None })
    }
}

/// Multiplies each token's state by its weight, then all of them so that the mean is what it was:
/// A1111's emphasis "Original". `hidden: [1, 77, width]`.
fn emphasise(hidden: &Tensor, chunk: &Chunk) -> Result<Tensor> {
    if chunk.is_plain() {
        return Ok(hidden.clone());
    }
    let weights = Tensor::from_vec(chunk.weights.clone(), (1, chunk.weights.len(), 1), &Device::Cpu)?;
    let scaled = hidden.broadcast_mul(&weights)?;
    let ratio = mean(hidden)? / mean(&scaled)?;
    // Weights of zero everywhere leave no mean to restore.
    if ratio.is_finite() { scaled * ratio } else { Ok(scaled) }
}

fn mean(x: &Tensor) -> Result<f64> {
    let values = x.flatten_all()?.to_vec1::<f32>()?;
    Ok(values.iter().map(|v| f64::from(*v)).sum::<f64>() / values.len().max(1) as f64)
}
