//! From timesteps, and from what some models read besides, to the vector that every residual block is given.

use candle_core::{Device, Result, Tensor};

use crate::config::UnetConfig;
use crate::ops::{Linear, silu};
use crate::weights::{Params, WeightError};

/// Width of the sinusoids of each of SDXL's micro-conditions.
pub(crate) const TIME_ID_WIDTH: usize = 256;

/// Sinusoids and the two layers after them; LCM models add a projection of the guidance scale between.
#[derive(Debug)]
pub(super) struct TimeEmbedding {
    linear_1: Linear,
    linear_2: Linear,
    cond_proj: Option<Linear>,
    width: usize,
}

impl TimeEmbedding {
    pub(super) fn load(p: &Params, config: &UnetConfig) -> std::result::Result<Self, WeightError> {
        let width = config.channels[0];
        Ok(Self {
            linear_1: Linear::load(&p.at("linear_1"), width, config.time_channels)?,
            linear_2: Linear::load(&p.at("linear_2"), config.time_channels, config.time_channels)?,
            cond_proj: match config.guidance {
                Some(input) => Some(Linear::load_unbiased(&p.at("cond_proj"), input, width)?),
                None => None,
            },
            width,
        })
    }

    /// `timesteps: [batch]` f32, fractional ones allowed; the result is `[batch, time_channels]`.
    pub(super) fn forward(&self, timesteps: &Tensor, guidance: Option<&Tensor>) -> Result<Tensor> {
        let mut wave = sinusoids(&timesteps.to_vec1::<f32>()?, self.width, timesteps.device())?;
        if let (Some(proj), Some(guidance)) = (&self.cond_proj, guidance) {
            wave = (wave + proj.forward(guidance)?)?;
        }
        self.linear_2.forward(&silu(&self.linear_1.forward(&wave)?)?)
    }
}

/// The layers that SDXL adds for the pooled text and the micro-conditions.
#[derive(Debug)]
pub(super) struct AddEmbedding {
    linear_1: Linear,
    linear_2: Linear,
}

impl AddEmbedding {
    pub(super) fn load(p: &Params, input: usize, width: usize) -> std::result::Result<Self, WeightError> {
        Ok(Self {
            linear_1: Linear::load(&p.at("linear_1"), input, width)?,
            linear_2: Linear::load(&p.at("linear_2"), width, width)?,
        })
    }

    /// `added: [batch, input]`; the result is `[batch, time_channels]`.
    pub(super) fn forward(&self, added: &Tensor) -> Result<Tensor> {
        self.linear_2.forward(&silu(&self.linear_1.forward(added)?)?)
    }
}

/// What SDXL reads besides the context: `pooled: [batch, n]`, then 256 sinusoids of each micro-condition
/// in `time_ids: [batch, k]` f32; the result is `[batch, n + 256·k]`.
///
/// The base model's ids are original height and width, top and left of the crop, target height and
/// width; the refiner's are original height and width, top, left, aesthetic score.
///
/// # Errors
/// The batches differ.
pub fn added_embedding(pooled: &Tensor, time_ids: &Tensor) -> Result<Tensor> {
    let (batch, count) = time_ids.dims2()?;
    let ids = time_ids.flatten_all()?.to_vec1::<f32>()?;
    let waves = sinusoids(&ids, TIME_ID_WIDTH, pooled.device())?;
    Tensor::cat(&[pooled, &waves.reshape((batch, count * TIME_ID_WIDTH))?], 1)
}

/// What LCM models read: `[batch, width]` of the guidance scales of a batch, where
/// [`UnetConfig::guidance`] is the width. Facts: diffusers' `get_guidance_scale_embedding` of the scale
/// less one.
///
/// # Errors
/// Memory for the result cannot be had.
pub fn guidance_embedding(scales: &[f32], width: usize) -> Result<Tensor> {
    let half = width / 2;
    let step = 10000_f32.ln() / half.saturating_sub(1).max(1) as f32;
    let frequencies: Vec<f32> = (0..half).map(|i| f64::from(i as f32 * -step).exp() as f32).collect();
    let mut values = Vec::with_capacity(scales.len() * width);
    for scale in scales {
        let w = (scale - 1.0) * 1000.0;
        let angles = || frequencies.iter().map(|f| f64::from(w * f));
        values.extend(angles().map(|a| a.sin() as f32));
        values.extend(angles().map(|a| a.cos() as f32));
        values.extend((half * 2..width).map(|_| 0.0));
    }
    Tensor::from_vec(values, (scales.len(), width), &Device::Cpu)
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
    use crate::ops::differences::{assert_gradients, noise, variable};
    use crate::unet::tests::small;
    use crate::weights::{BuildOptions, Weights};

    /// The place `a` of tensors that are given, by their names there.
    fn place(tensors: &[(&str, &Tensor)]) -> Params {
        let given = tensors.iter().map(|(leaf, t)| (format!("a.{leaf}"), (*t).clone())).collect();
        let options = BuildOptions { given: std::sync::Arc::new(given), ..Default::default() };
        Params::with(Weights::random(1), std::sync::Arc::new(options)).at("a")
    }

    #[test]
    fn the_layers_of_time_and_of_added_conditions_get_gradients() {
        let (w1, b1) = (variable(&[16, 8], 1), variable(&[16], 2));
        let (w2, b2) = (variable(&[16, 16], 3), variable(&[16], 4));
        let own = [
            ("linear_1.weight", w1.as_tensor()),
            ("linear_1.bias", b1.as_tensor()),
            ("linear_2.weight", w2.as_tensor()),
            ("linear_2.bias", b2.as_tensor()),
        ];
        let time = TimeEmbedding::load(&place(&own), &small()).unwrap();
        let timesteps = Tensor::new(&[3.0_f32, 700.5], &Device::Cpu).unwrap();
        assert_gradients("time", &[&w1, &b1, &w2, &b2], || time.forward(&timesteps, None));

        let layers = AddEmbedding::load(&place(&own), 8, 16).unwrap();
        let x = variable(&[2, 8], 5);
        assert_gradients("added", &[&x, &w1, &b1, &w2, &b2], || layers.forward(&x));
        let ids = noise(&[2, 6], 6);
        assert_gradients("pooled text", &[&x], || added_embedding(&x, &ids));
    }

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
