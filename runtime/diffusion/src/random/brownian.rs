//! The noise of the samplers of stochastic differential equations.

use candle_core::{Device, Result, Tensor};

use super::interval::BrownianInterval;
use super::source::NoiseSource;

/// A Brownian motion per picture, with the noise level as its time: k-diffusion's
/// `BrownianTreeNoiseSampler` with a seed per picture, as A1111 makes it.
///
/// The same two levels give the same noise again, so more steps refine a picture instead of changing it.
#[derive(Debug)]
pub struct BrownianNoise {
    motions: Vec<BrownianInterval>,
    shape: (usize, usize, usize),
}

impl BrownianNoise {
    /// `range` holds the smallest positive and the largest noise level of the run: see
    /// `Steps::noise_range`. `shape` is that of one latent: channels, height, width.
    pub fn new(seeds: &[u64], shape: (usize, usize, usize), source: NoiseSource, range: (f32, f32)) -> Self {
        let elements = shape.0 * shape.1 * shape.2;
        let (low, high) = (range.0.min(range.1), range.0.max(range.1));
        let motion = |seed: &u64| BrownianInterval::new(source, *seed, elements, low, high);
        Self { motions: seeds.iter().map(motion).collect(), shape }
    }

    /// The increment from `sigma` to `next`, scaled to unit variance: `[batch, channels, height, width]`.
    pub fn draw(&mut self, sigma: f32, next: f32) -> Result<Tensor> {
        // Time runs from small to large levels, so a falling step takes the increment backwards.
        let (low, high, sign) = if sigma < next { (sigma, next, 1.0) } else { (next, sigma, -1.0) };
        let scale = (next - sigma).abs().sqrt();
        let mut values = Vec::new();
        for motion in &mut self.motions {
            values.extend(motion.increment(low, high).into_iter().map(|w| w * sign / scale));
        }
        let (channels, height, width) = self.shape;
        Tensor::from_vec(values, (self.motions.len(), channels, height, width), &Device::Cpu)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_picture_has_the_same_noise_alone_and_in_company() {
        let range = (0.03, 14.6);
        let mut together = BrownianNoise::new(&[7, 8], (4, 3, 5), NoiseSource::Cpu, range);
        let mut alone = BrownianNoise::new(&[8], (4, 3, 5), NoiseSource::Cpu, range);
        for (sigma, next) in [(14.6, 3.0), (3.0, 0.5)] {
            let pair = together.draw(sigma, next).unwrap().get(1).unwrap().flatten_all().unwrap();
            let one = alone.draw(sigma, next).unwrap().flatten_all().unwrap();
            assert_eq!(pair.to_vec1::<f32>().unwrap(), one.to_vec1::<f32>().unwrap());
        }
    }
}
