//! The noise of a batch: each picture has its own generator, so its place in the batch is no part of it.
//!
//! Facts: A1111's `modules/rng.py` (`ImageRNG`).

use candle_core::{Device, Result, Tensor};

use super::slerp::slerp;
use super::source::{Generator, NoiseSource};

/// A second noise, mixed into the first.
#[derive(Debug, Clone, PartialEq)]
pub struct Variation {
    /// One per picture; pictures past its end take 0.
    pub seeds: Vec<u64>,
    /// 0 is the picture of its own seed, 1 that of the variation's.
    pub strength: f32,
}

/// What can be asked of the noise besides the seeds; the default is plain noise of a CPU.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct NoiseOptions {
    pub source: NoiseSource,
    pub variation: Option<Variation>,
    /// Height and width in latents of the picture whose noise stands in the middle of this one's.
    pub resize_from: Option<(usize, usize)>,
    /// ENSD: added to each seed for the noise of the steps; 0 goes on with the first stream.
    pub step_seed_delta: i64,
}

/// Generators of a batch, one per picture.
///
/// The first draw is the initial latent, later draws the noise that ancestral samplers add.
#[derive(Debug)]
pub struct LatentNoise {
    seeds: Vec<u64>,
    generators: Vec<Generator>,
    shape: (usize, usize, usize),
    options: NoiseOptions,
    is_first: bool,
}

impl LatentNoise {
    /// `shape` is that of one latent: channels, height, width.
    pub fn new(seeds: &[u64], shape: (usize, usize, usize)) -> Self {
        Self::with_options(seeds, shape, NoiseOptions::default())
    }

    /// Noise with a source, a variation, another picture's size or another seed for the steps.
    pub fn with_options(seeds: &[u64], shape: (usize, usize, usize), options: NoiseOptions) -> Self {
        let generators = seeds.iter().map(|seed| options.source.generator(*seed)).collect();
        Self { seeds: seeds.to_vec(), generators, shape, options, is_first: true }
    }

    /// The next noise, `[batch, channels, height, width]`.
    pub fn draw(&mut self) -> Result<Tensor> {
        let (channels, height, width) = self.shape;
        let count = channels * height * width;
        let values: Vec<f32> = if self.is_first {
            self.is_first = false;
            let first = (0..self.seeds.len()).flat_map(|i| self.first(i)).collect();
            self.begin_steps();
            first
        } else {
            self.generators.iter_mut().flat_map(|g| g.randn(count)).collect()
        };
        Tensor::from_vec(values, (self.generators.len(), channels, height, width), &Device::Cpu)
    }

    /// The initial noise of one picture.
    fn first(&mut self, picture: usize) -> Vec<f32> {
        let (channels, height, width) = self.shape;
        let (from_height, from_width) = self.options.resize_from.unwrap_or((height, width));
        let from = (channels, from_height, from_width);
        let own = self.generators[picture].randn(channels * height * width);
        let mut noise = if from == self.shape { own.clone() } else { self.fresh(self.seeds[picture], from) };
        if let Some(variation) = self.options.variation.as_ref().filter(|v| v.strength != 0.0) {
            let seed = variation.seeds.get(picture).copied().unwrap_or(0);
            noise = slerp(variation.strength, &noise, &self.fresh(seed, from), from);
        }
        if from == self.shape { noise } else { paste(own, self.shape, &noise, from) }
    }

    /// The first noise of a seed, whatever else it is used for.
    fn fresh(&self, seed: u64, (channels, height, width): (usize, usize, usize)) -> Vec<f32> {
        self.options.source.generator(seed).randn(channels * height * width)
    }

    fn begin_steps(&mut self) {
        let delta = self.options.step_seed_delta;
        if delta != 0 {
            let generator = |seed: &u64| self.options.source.generator(seed.wrapping_add_signed(delta));
            self.generators = self.seeds.iter().map(generator).collect();
        }
    }
}

/// `small` in the centre of `large`; what is larger than it is cut off evenly.
fn paste(
    mut large: Vec<f32>,
    (channels, height, width): (usize, usize, usize),
    small: &[f32],
    (_, from_height, from_width): (usize, usize, usize),
) -> Vec<f32> {
    let rows = overlap(height, from_height);
    let columns = overlap(width, from_width);
    for c in 0..channels {
        for y in 0..rows.length {
            let to = (c * height + rows.to + y) * width + columns.to;
            let from = (c * from_height + rows.from + y) * from_width + columns.from;
            large[to..to + columns.length].copy_from_slice(&small[from..from + columns.length]);
        }
    }
    large
}

/// Where one axis of the noise lands and which part of it.
#[derive(Debug, PartialEq)]
struct Overlap {
    to: usize,
    from: usize,
    length: usize,
}

fn overlap(size: usize, from: usize) -> Overlap {
    if size >= from {
        return Overlap { to: (size - from) / 2, from: 0, length: from };
    }
    // Python halves towards minus infinity, so an odd surplus cuts one more off the start.
    let cut = (from - size).div_ceil(2);
    Overlap { to: 0, from: cut, length: from - 2 * cut }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn values(x: &Tensor) -> Vec<f32> {
        x.flatten_all().unwrap().to_vec1().unwrap()
    }

    #[test]
    fn a_picture_has_the_same_noise_alone_and_in_company() {
        let variation = |seeds: &[u64]| Some(Variation { seeds: seeds.to_vec(), strength: 0.3 });
        let options = |seeds| NoiseOptions {
            variation: variation(seeds),
            resize_from: Some((5, 2)),
            step_seed_delta: 31_337,
            ..Default::default()
        };
        let both = [[NoiseOptions::default(), NoiseOptions::default()], [options(&[1, 2]), options(&[2])]];
        for [pair, one] in both {
            let mut together = LatentNoise::with_options(&[7, 8], (4, 3, 5), pair);
            let mut alone = LatentNoise::with_options(&[8], (4, 3, 5), one);
            for _ in 0..3 {
                let pair = together.draw().unwrap().get(1).unwrap();
                assert_eq!(values(&pair), values(&alone.draw().unwrap()));
            }
        }
    }

    #[test]
    fn the_seed_of_the_steps_leaves_the_first_noise_alone() {
        let draw = |delta| {
            let options = NoiseOptions { step_seed_delta: delta, ..Default::default() };
            let mut noise = LatentNoise::with_options(&[7], (4, 2, 2), options);
            [values(&noise.draw().unwrap()), values(&noise.draw().unwrap())]
        };
        let ([first, second], [same, other]) = (draw(0), draw(3));
        assert_eq!(first, same);
        assert_ne!(second, other);
        assert_eq!(other, values(&LatentNoise::new(&[10], (4, 2, 2)).draw().unwrap()));
    }

    #[test]
    fn noise_of_another_size_stands_in_the_centre() {
        let cases = [
            (8, 4, Overlap { to: 2, from: 0, length: 4 }),
            (7, 4, Overlap { to: 1, from: 0, length: 4 }),
            (4, 8, Overlap { to: 0, from: 2, length: 4 }),
            (4, 7, Overlap { to: 0, from: 2, length: 3 }),
            (4, 5, Overlap { to: 0, from: 1, length: 3 }),
        ];
        for (size, from, want) in cases {
            assert_eq!(overlap(size, from), want, "{from} into {size}");
        }
    }
}
