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

#[cfg(test)]
mod tests {
    use super::*;
    use candle_core::Device;

    fn chunk(weights: [f32; 3]) -> Chunk {
        Chunk { tokens: vec![0; 3], weights: weights.to_vec(), fixes: Vec::new() }
    }

    fn states(chunks: &[(&Chunk, [f32; 3], usize)], mode: EmphasisMode) -> Vec<Vec<f32>> {
        let group = chunks.iter().map(|(chunk, values, times)| Weighed {
            chunk,
            hidden: Tensor::from_slice(values, (1, 3, 1), &Device::Cpu).unwrap(),
            times: *times,
        });
        let weighed = weigh(group.collect(), mode).unwrap();
        weighed.iter().map(|x| x.flatten_all().unwrap().to_vec1().unwrap()).collect()
    }

    #[test]
    fn modes_differ_in_the_mean_and_in_the_weights() {
        let strong = chunk([1.0, 2.0, 1.0]);
        let got = |mode| states(&[(&strong, [1.0, 2.0, 3.0], 1)], mode).remove(0);
        // The mean was 2 and became 8/3.
        assert_eq!(got(EmphasisMode::Original), [0.75, 3.0, 2.25]);
        assert_eq!(got(EmphasisMode::NoNorm), [1.0, 4.0, 3.0]);
        assert_eq!(got(EmphasisMode::Ignore), [1.0, 2.0, 3.0]);
        assert_eq!(got(EmphasisMode::None), [1.0, 2.0, 3.0]);
    }

    #[test]
    fn a_text_counts_as_often_as_the_schedule_has_it() {
        let (plain, strong) = (chunk([1.0; 3]), chunk([3.0; 3]));
        let got = states(&[(&plain, [1.0; 3], 3), (&strong, [1.0; 3], 1)], EmphasisMode::Original);
        // Mean 1 before, (3·1 + 3)/4 after.
        assert_eq!(got, [vec![1.0 / 1.5; 3], vec![2.0; 3]]);
    }

    #[test]
    fn weights_without_a_mean_leave_no_nan() {
        let none = chunk([0.0; 3]);
        assert_eq!(states(&[(&none, [1.0, 2.0, 3.0], 1)], EmphasisMode::Original), [vec![0.0; 3]]);
    }
}
