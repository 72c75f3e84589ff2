//! `torch.manual_seed(s); torch.randn(n)` on a CPU.
//!
//! Facts: `aten/src/ATen/native/cpu/DistributionTemplates.h` (`normal_fill_AVX2`, `normal_kernel`) and
//! `aten/src/ATen/core/DistributionsHelper.h` (`normal_distribution<double>`).

use super::approx::{log, sin_cos};
use super::mt19937::Mt19937;

/// Numbers that one Box-Muller block yields.
const BLOCK: usize = 16;

/// A generator in the state that torch's would have after the same calls.
#[derive(Debug, Clone)]
pub struct TorchRng {
    engine: Mt19937,
    /// The second half of the last pair that was made one value at a time.
    spare: Option<f64>,
}

impl TorchRng {
    /// As `torch.manual_seed(seed)`.
    pub fn new(seed: u64) -> Self {
        Self { engine: Mt19937::new(seed), spare: None }
    }

    /// As `torch.randn(n)`: below 16 values one at a time in f64, otherwise in blocks of 16.
    pub fn randn(&mut self, n: usize) -> Vec<f32> {
        if n < BLOCK {
            return (0..n).map(|_| self.single() as f32).collect();
        }
        let mut values: Vec<f32> = (0..n).map(|_| uniform(&mut self.engine)).collect();
        for block in values.as_chunks_mut::<BLOCK>().0 {
            box_muller(block);
        }
        if !n.is_multiple_of(BLOCK) {
            // The last sixteen are drawn anew, over the end of the block before.
            let tail = &mut values[n - BLOCK..];
            for value in tail.iter_mut() {
                *value = uniform(&mut self.engine);
            }
            if let Some(block) = tail.first_chunk_mut::<BLOCK>() {
                box_muller(block);
            }
        }
        values
    }

    /// 53 bits, from 0 to below 1.
    fn uniform_f64(&mut self) -> f64 {
        let high = u64::from(self.engine.next_u32());
        let low = u64::from(self.engine.next_u32());
        let bits = ((high << 32) | low) & ((1 << 53) - 1);
        bits as f64 / (1_u64 << 53) as f64
    }

    fn single(&mut self) -> f64 {
        if let Some(spare) = self.spare.take() {
            return spare;
        }
        let angle = std::f64::consts::TAU * self.uniform_f64();
        let radius = (-2.0 * (-self.uniform_f64()).ln_1p()).sqrt();
        self.spare = Some(radius * angle.sin());
        radius * angle.cos()
    }
}

/// 24 bits, from 0 to below 1.
fn uniform(engine: &mut Mt19937) -> f32 {
    (engine.next_u32() & 0x00ff_ffff) as f32 / 16_777_216.0
}

/// Uniform numbers become normal: the first eight are radii, the last eight angles.
fn box_muller(block: &mut [f32; BLOCK]) {
    let half = BLOCK / 2;
    for i in 0..half {
        let radius = (-2.0 * log(1.0 - block[i])).sqrt();
        let (sin, cos) = sin_cos(std::f32::consts::TAU * block[i + half]);
        block[i] = radius * cos;
        block[i + half] = radius * sin;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_the_moments_of_a_normal_distribution() {
        let values = TorchRng::new(42).randn(100_000);
        let mean = values.iter().map(|v| f64::from(*v)).sum::<f64>() / 1e5;
        let var = values.iter().map(|v| f64::from(*v).powi(2)).sum::<f64>() / 1e5;
        assert!(mean.abs() < 0.01 && (var - 1.0).abs() < 0.02, "{mean} {var}");
    }

    #[test]
    fn no_values_draw_no_numbers() {
        let mut rng = TorchRng::new(1);
        assert!(rng.randn(0).is_empty());
        assert_eq!(rng.randn(20), TorchRng::new(1).randn(20));
    }
}
