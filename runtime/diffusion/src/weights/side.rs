//! A low-rank path beside a layer, which is how an adapter is trained: the layer's own weights stay as they
//! are, and no gradient of their size is ever computed.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use candle_core::{Result, Tensor};

use crate::random::Mt19937;

/// Adds `up(down(x)) · scale` to what a layer gives.
#[derive(Debug, Clone)]
pub struct SidePath {
    /// `[rank, in]`, or `[rank, in, kernel, kernel]` beside a convolution, with its stride and padding.
    pub down: Tensor,
    /// `[out, rank]`, or `[out, rank, 1, 1]`.
    pub up: Tensor,
    /// Alpha over rank.
    pub scale: f64,
    /// What is dropped of the input, and which of the layers this is to it.
    pub dropout: Option<(Arc<Dropout>, usize)>,
}

impl SidePath {
    /// `x` with a part of its values zero and the others larger in proportion.
    ///
    /// # Errors
    /// Memory for the result cannot be had.
    pub fn dropped(&self, x: &Tensor) -> Result<Tensor> {
        match &self.dropout {
            Some((dropout, layer)) => x * dropout.mask(*layer, x)?,
            None => Ok(x.clone()),
        }
    }
}

/// What is dropped where: a function of the seed, of the layer, and of how often a counted layer was
/// asked since the seed was set. Layers that are not counted may be computed again for their backward.
#[derive(Debug)]
pub struct Dropout {
    probability: f64,
    seed: AtomicU64,
    /// One for each counted layer; these have the first numbers.
    calls: Vec<AtomicU64>,
}

impl Dropout {
    /// `probability` is from 0 to below 1; the first `counted` layers are those that one pass asks several
    /// times, which text encoders are.
    pub fn new(probability: f64, counted: usize) -> Self {
        let calls = (0..counted).map(|_| AtomicU64::new(0)).collect();
        Self { probability: probability.clamp(0.0, 0.999), seed: AtomicU64::new(0), calls }
    }

    /// Begins a pass.
    pub fn restart(&self, seed: u64) {
        self.seed.store(seed, Ordering::Relaxed);
        self.calls.iter().for_each(|calls| calls.store(0, Ordering::Relaxed));
    }

    fn mask(&self, layer: usize, like: &Tensor) -> Result<Tensor> {
        let call = self.calls.get(layer).map_or(0, |calls| calls.fetch_add(1, Ordering::Relaxed));
        let seed = self.seed.load(Ordering::Relaxed);
        let mut bits = Mt19937::new(mixed(mixed(mixed(seed) ^ layer as u64) ^ call));
        let kept = (1.0 / (1.0 - self.probability)) as f32;
        let bound = (self.probability * f64::from(1_u32 << 24)) as u32;
        let mut draw = || if bits.next_u32() >> 8 < bound { 0.0 } else { kept };
        let values: Vec<f32> = (0..like.elem_count()).map(|_| draw()).collect();
        Tensor::from_vec(values, like.shape(), like.device())
    }
}

/// The finaliser of splitmix64: neighbouring numbers become unrelated ones.
fn mixed(n: u64) -> u64 {
    let n = n.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let n = (n ^ (n >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let n = (n ^ (n >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    n ^ (n >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;
    use candle_core::{DType, Device};

    #[test]
    fn the_same_seed_and_layer_drop_the_same_values() {
        let x = Tensor::ones(4000, DType::F32, &Device::Cpu).unwrap();
        let dropout = Dropout::new(0.25, 1);
        let mask = |layer| dropout.mask(layer, &x).unwrap().to_vec1::<f32>().unwrap();
        dropout.restart(7);
        let (first, second, other) = (mask(0), mask(0), mask(1));
        assert_ne!(first, second, "a counted layer drops others the second time");
        assert_ne!(first, other);
        assert_eq!(other, mask(1), "a layer that is not counted drops the same when it is computed again");
        let dropped = other.iter().filter(|v| **v == 0.0).count();
        assert!((800..1200).contains(&dropped), "{dropped}");
        let mean = other.iter().sum::<f32>() / 4000.0;
        assert!((mean - 1.0).abs() < 0.05, "{mean}");
        dropout.restart(7);
        assert_eq!(first, mask(0));
        dropout.restart(8);
        assert_ne!(first, mask(0));
    }
}
