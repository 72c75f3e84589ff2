//! A model whose answers are known: the mixture of `golden/samplers/mixture.py`, as a sampler's world.

use candle_core::{Device, Result, Tensor};
use easel_diffusion::random::{BrownianNoise, LatentNoise, NoiseSource};
use easel_diffusion::samplers::World;
use easel_diffusion::schedule::NoiseTable;

use crate::golden::values;

pub const SHAPE: (usize, usize, usize) = (4, 4, 4);
const DEVIATIONS: [f64; 3] = [0.3, 0.5, 0.2];
const WEIGHTS: [f64; 3] = [0.3, 0.3, 0.4];

/// The mixture, the noise of some pictures, and all that was asked.
pub struct Mixture {
    log_alphas: Vec<f64>,
    noise: LatentNoise,
    brownian: Option<BrownianNoise>,
    pub asked: Vec<(Tensor, f32)>,
}

/// The mean of the data at an element given x = data + sigma · noise.
fn clean(element: usize, x: f64, sigma: f64) -> f64 {
    let i = element as f64;
    let means = [-1.5 + 0.02 * i, 0.3 - 0.01 * i, 1.2 + 0.005 * i];
    let variance = DEVIATIONS.map(|d| d * d + sigma * sigma);
    let odds: [f64; 3] = std::array::from_fn(|k| {
        WEIGHTS[k].ln() - (x - means[k]).powi(2) / (2.0 * variance[k]) - variance[k].ln() / 2.0
    });
    let top = odds.into_iter().fold(f64::NEG_INFINITY, f64::max);
    let (mut sum, mut total) = (0.0, 0.0);
    for k in 0..3 {
        let share = (odds[k] - top).exp();
        sum += share * (means[k] * sigma * sigma + x * DEVIATIONS[k] * DEVIATIONS[k]) / variance[k];
        total += share;
    }
    sum / total
}

/// Applies a function of element and value; rounded to f32 at the end, as in the script.
fn each(x: &Tensor, f: impl Fn(usize, f64) -> f64) -> Result<Tensor> {
    let elements = SHAPE.0 * SHAPE.1 * SHAPE.2;
    let out: Vec<f32> =
        values(x).iter().enumerate().map(|(i, v)| f(i % elements, f64::from(*v)) as f32).collect();
    Tensor::from_vec(out, x.dims(), &Device::Cpu)
}

impl Mixture {
    pub fn new(seeds: &[u64], range: Option<(f32, f32)>) -> Self {
        let log = |a: &f32| f64::from(*a).ln();
        Self {
            log_alphas: NoiseTable::sd1().alphas_cumprod().iter().map(log).collect(),
            noise: LatentNoise::new(seeds, SHAPE),
            brownian: range.map(|range| BrownianNoise::new(seeds, SHAPE, NoiseSource::Cpu, range)),
            asked: Vec::new(),
        }
    }
}

impl World for Mixture {
    fn denoised(&mut self, x: &Tensor, sigma: f32) -> Result<Tensor> {
        self.asked.push((x.clone(), sigma));
        each(x, |i, v| clean(i, v, f64::from(sigma)))
    }

    fn epsilon(&mut self, x: &Tensor, timestep: f32) -> Result<Tensor> {
        self.asked.push((x.clone(), timestep));
        let t = f64::from(timestep).clamp(0.0, 999.0);
        let low = (t as usize).min(998);
        let (a, b) = (self.log_alphas[low], self.log_alphas[low + 1]);
        let alpha = (a + (b - a) * (t - low as f64)).exp();
        let sigma = ((1.0 - alpha) / alpha).sqrt();
        each(x, |i, v| {
            let whole = v / alpha.sqrt();
            (whole - clean(i, whole, sigma)) / sigma
        })
    }

    fn noise(&mut self) -> Result<Tensor> {
        self.noise.draw()
    }

    fn brownian(&mut self, sigma: f32, next: f32) -> Result<Tensor> {
        self.brownian.as_mut().expect("the run named its range").draw(sigma, next)
    }
}
