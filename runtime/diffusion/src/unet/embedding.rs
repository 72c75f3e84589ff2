//! From timesteps to the vector that every residual block is given.

use candle_core::{Device, Result, Tensor};

use crate::config::UnetConfig;
use crate::ops::{Linear, silu};
use crate::weights::{Params, WeightError};

/// Sinusoids and the two layers after them.
#[derive(Debug)]
pub(super) struct TimeEmbedding {
    linear_1: Linear,
    linear_2: Linear,
    width: usize,
}

impl TimeEmbedding {
    pub(super) fn load(p: &Params, config: &UnetConfig) -> std::result::Result<Self, WeightError> {
        let width = config.channels[0];
        Ok(Self {
            linear_1: Linear::load(&p.at("linear_1"), width, config.time_channels)?,
            linear_2: Linear::load(&p.at("linear_2"), config.time_channels, config.time_channels)?,
            width,
        })
    }

    /// `timesteps: [batch]` f32, fractional ones allowed; the result is `[batch, time_channels]`.
    pub(super) fn forward(&self, timesteps: &Tensor) -> Result<Tensor> {
        let wave = sinusoids(&timesteps.to_vec1::<f32>()?, self.width, timesteps.device())?;
        self.linear_2.forward(&silu(&self.linear_1.forward(&wave)?)?)
    }
}

/// Cosines, then sines, of `t · 10000^(-i/half)`: diffusers' `get_timestep_embedding` with
/// `flip_sin_to_cos` and no shift.
///
/// The frequencies are rounded to f32 as the reference does: at t = 999 that rounding moves an angle
/// by up to 6e-5, so a more exact frequency would be a different picture.
fn sinusoids(timesteps: &[f32], width: usize, device: &Device) -> Result<Tensor> {
    let half = width / 2;
    let log_period = -(10000_f64.ln()) as f32;
    let frequencies: Vec<f32> = (0..half)
        .map(|i| {
            let exponent = log_period * i as f32 / half as f32;
            f64::from(exponent).exp() as f32
        })
        .collect();
    let mut values = Vec::with_capacity(timesteps.len() * width);
    for t in timesteps {
        let angles = || frequencies.iter().map(|f| f64::from(t * f));
        values.extend(angles().map(|a| a.cos() as f32));
        values.extend(angles().map(|a| a.sin() as f32));
    }
    Tensor::from_vec(values, (timesteps.len(), half * 2), device)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cosines_come_first_and_fractions_count() {
        let x = sinusoids(&[0.0, 1.5], 4, &Device::Cpu).unwrap().to_vec2::<f32>().unwrap();
        assert_eq!(x[0], [1.0, 1.0, 0.0, 0.0]);
        let want = [1.5_f32.cos(), 0.015_f32.cos(), 1.5_f32.sin(), 0.015_f32.sin()];
        for (got, want) in x[1].iter().zip(want) {
            assert!((got - want).abs() < 1e-6);
        }
    }
}
