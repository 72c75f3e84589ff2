//! The noise of a batch: each picture has its own generator, so its place in the batch is no part of it.

use candle_core::{Device, Result, Tensor};

use super::torch::TorchRng;

/// Generators of a batch, one per picture: A1111's `ImageRNG` with noise from the CPU.
///
/// The first draw is the initial latent, later draws the noise that ancestral samplers add; both come
/// from the same stream.
#[derive(Debug)]
pub struct LatentNoise {
    generators: Vec<TorchRng>,
    shape: (usize, usize, usize),
}

impl LatentNoise {
    /// `shape` is that of one latent: channels, height, width.
    pub fn new(seeds: &[u64], shape: (usize, usize, usize)) -> Self {
        Self { generators: seeds.iter().map(|s| TorchRng::new(*s)).collect(), shape }
    }

    /// The next noise, `[batch, channels, height, width]`.
    pub fn draw(&mut self) -> Result<Tensor> {
        let (channels, height, width) = self.shape;
        let count = channels * height * width;
        let values: Vec<f32> = self.generators.iter_mut().flat_map(|g| g.randn(count)).collect();
        Tensor::from_vec(values, (self.generators.len(), channels, height, width), &Device::Cpu)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_picture_has_the_same_noise_alone_and_in_company() {
        let mut together = LatentNoise::new(&[7, 8], (4, 3, 5));
        let mut alone = LatentNoise::new(&[8], (4, 3, 5));
        for _ in 0..3 {
            let pair = together.draw().unwrap().get(1).unwrap().flatten_all().unwrap();
            let one = alone.draw().unwrap().flatten_all().unwrap();
            assert_eq!(pair.to_vec1::<f32>().unwrap(), one.to_vec1::<f32>().unwrap());
        }
    }
}
