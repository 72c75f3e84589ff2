//! The loss: how far the prediction is from the noise (or the velocity) that was put in.
//!
//! Facts: Ho et al. 2020 (the noise of a timestep), Salimans and Ho 2022 (v), Hang et al. 2023 and the
//! `--snr_gamma` of diffusers' training examples (min-SNR), crosslabs' "Diffusion with offset noise".

use candle_core::{Device, Result, Tensor};

use crate::inspect::PredictionType;
use crate::random::TorchRng;
use crate::schedule::NoiseTable;

/// What the loss is, for a whole run.
#[derive(Debug, Clone, PartialEq)]
pub struct Objective {
    /// Upper bound of the signal-to-noise ratio by which timesteps are weighed; unset weighs all the same.
    pub min_snr_gamma: Option<f64>,
    /// As [`EncodeOptions::clip_skip`](crate::text::EncodeOptions::clip_skip).
    pub clip_skip: usize,
}

impl Default for Objective {
    fn default() -> Self {
        Self { min_snr_gamma: None, clip_skip: 1 }
    }
}

/// `noise`, `[batch, channels, h, w]`, with a normal number times `strength` added to each channel as a
/// whole; 0.05 to 0.1 are usual.
///
/// # Errors
/// The noise has another shape.
pub fn offset_noise(noise: &Tensor, strength: f64, rng: &mut TorchRng) -> Result<Tensor> {
    let (batch, channels, _, _) = noise.dims4()?;
    let offsets = Tensor::from_vec(rng.randn(batch * channels), (batch, channels, 1, 1), noise.device())?;
    noise.broadcast_add(&(offsets * strength)?)
}

/// Timesteps of one batch with the shares of signal and noise at each.
pub(super) struct Noising {
    /// `[batch, 1, 1, 1]`: √ᾱ and √(1 - ᾱ).
    signal: Tensor,
    noise: Tensor,
    /// ᾱ
    alphas: Vec<f64>,
    kind: PredictionType,
}

impl Noising {
    /// `timesteps` lie in the table.
    pub fn new(table: &NoiseTable, timesteps: &[u32], kind: PredictionType) -> Result<Self> {
        let alphas: Vec<f64> = timesteps
            .iter()
            .filter_map(|t| table.alphas_cumprod().get(*t as usize))
            .map(|a| f64::from(*a))
            .collect();
        let column = |of: &dyn Fn(f64) -> f64| {
            let values: Vec<f32> = alphas.iter().map(|a| of(*a).sqrt() as f32).collect();
            let count = values.len();
            Tensor::from_vec(values, (count, 1, 1, 1), &Device::Cpu)
        };
        Ok(Self { signal: column(&|a| a)?, noise: column(&|a| 1.0 - a)?, alphas, kind })
    }

    /// What the network sees.
    pub fn noisy(&self, latents: &Tensor, noise: &Tensor) -> Result<Tensor> {
        latents.broadcast_mul(&self.signal)? + noise.broadcast_mul(&self.noise)?
    }

    /// What it is to say.
    pub fn target(&self, latents: &Tensor, noise: &Tensor) -> Result<Tensor> {
        match self.kind {
            PredictionType::Epsilon => Ok(noise.clone()),
            PredictionType::VPrediction => {
                noise.broadcast_mul(&self.signal)? - latents.broadcast_mul(&self.noise)?
            }
        }
    }

    /// The factor of each sample's loss.
    pub fn weights(&self, gamma: Option<f64>) -> Vec<f64> {
        let Some(gamma) = gamma else { return vec![1.0; self.alphas.len()] };
        let weight = |alpha: &f64| {
            let snr = alpha / (1.0 - alpha);
            match self.kind {
                // min(snr, γ)/snr, also where the signal is nothing.
                PredictionType::Epsilon => (gamma / snr).min(1.0),
                PredictionType::VPrediction => snr.min(gamma) / (snr + 1.0),
            }
        };
        self.alphas.iter().map(weight).collect()
    }
}

/// The mean over the batch of each sample's mean square times its weight.
pub(super) fn weighed_loss(prediction: &Tensor, target: &Tensor, weights: &[f64]) -> Result<Tensor> {
    let batch = prediction.dim(0)?;
    let squares = (prediction - target)?.sqr()?.reshape((batch, ()))?;
    let count = squares.dim(1)? as f64;
    let weights: Vec<f32> = weights.iter().map(|w| (w / (count * batch as f64)) as f32).collect();
    squares.sum(1)?.mul(&Tensor::from_vec(weights, batch, prediction.device())?)?.sum_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gamma_bounds_the_weight_of_clear_pictures() {
        let table = NoiseTable::sd1();
        let weights = |kind, gamma| Noising::new(&table, &[0, 500, 999], kind).unwrap().weights(gamma);
        let snr = |t: usize| {
            let a = f64::from(table.alphas_cumprod()[t]);
            a / (1.0 - a)
        };
        assert_eq!(weights(PredictionType::Epsilon, None), [1.0; 3]);
        let epsilon = weights(PredictionType::Epsilon, Some(5.0));
        assert!((epsilon[0] - 5.0 / snr(0)).abs() < 1e-12);
        assert_eq!(epsilon[1..], [1.0, 1.0]);
        let v = weights(PredictionType::VPrediction, Some(5.0));
        for (got, t) in v.iter().zip([0, 500, 999]) {
            assert!((got - snr(t).min(5.0) / (snr(t) + 1.0)).abs() < 1e-12, "{t}");
        }
    }

    #[test]
    fn an_offset_is_the_same_all_over_a_channel() {
        let noise = Tensor::zeros((2, 4, 3, 5), candle_core::DType::F32, &Device::Cpu).unwrap();
        let moved = offset_noise(&noise, 0.1, &mut TorchRng::new(3)).unwrap();
        let rows = moved.reshape((8, 15)).unwrap().to_vec2::<f32>().unwrap();
        let drawn = TorchRng::new(3).randn(8);
        for (row, drawn) in rows.iter().zip(drawn) {
            assert!(row.iter().all(|v| (v - drawn * 0.1).abs() < 1e-7));
        }
    }

    #[test]
    fn a_weight_of_zero_takes_a_sample_out_of_the_loss() {
        let x = Tensor::new(&[[[[1.0_f32]]], [[[3.0]]]], &Device::Cpu).unwrap();
        let zero = x.zeros_like().unwrap();
        let loss = |weights: &[f64]| weighed_loss(&x, &zero, weights).unwrap().to_scalar::<f32>().unwrap();
        assert_eq!(loss(&[1.0, 1.0]), 5.0);
        assert_eq!(loss(&[1.0, 0.0]), 0.5);
    }
}
