//! Emphasis, applied to what an encoder made of the chunks.
//!
//! Facts: `modules/sd_emphasis.py`. A1111 encodes all texts of a schedule as one batch and restores the mean
//! of the whole batch, so a text's states depend on the other texts of its schedule, each counted as often
//! as the schedule has it.

use candle_core::{Result, Tensor};

use super::chunks::Chunk;
use super::options::EmphasisMode;

/// The chunks at one place of a schedule's texts.
pub(super) struct Weighed<'a> {
    pub chunk: &'a Chunk,
    /// `[1, positions, width]`
    pub hidden: Tensor,
    /// How often the schedule has this text.
    pub times: usize,
}

/// Applies the weights to each; the result has the order of `group`.
pub(super) fn weigh(group: Vec<Weighed>, mode: EmphasisMode) -> Result<Vec<Tensor>> {
    let plain = group.iter().all(|one| one.chunk.is_plain());
    if plain || matches!(mode, EmphasisMode::None | EmphasisMode::Ignore) {
        return Ok(group.into_iter().map(|one| one.hidden).collect());
    }
    let (mut before, mut after) = (0.0, 0.0);
    let mut scaled = Vec::with_capacity(group.len());
    for one in &group {
        let weights = &one.chunk.weights;
        let weights = Tensor::from_slice(weights, (1, weights.len(), 1), one.hidden.device())?;
        let states = one.hidden.broadcast_mul(&weights)?;
        before += mean(&one.hidden)? * one.times as f64;
        after += mean(&states)? * one.times as f64;
        scaled.push(states);
    }
    let ratio = before / after;
    // Weights of zero everywhere leave no mean to restore.
    if mode == EmphasisMode::NoNorm || !ratio.is_finite() {
        return Ok(scaled);
    }
    scaled.into_iter().map(|states| states * ratio).collect()
}

fn mean(x: &Tensor) -> Result<f64> {
    let values = x.flatten_all()?.to_vec1::<f32>()?;
    Ok(values.iter().map(|v| f64::from(*v)).sum::<f64>() / values.len().max(1) as f64)
}
