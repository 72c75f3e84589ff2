//! Group and layer normalisation.

use candle_core::{D, Result, Tensor};

use crate::weights::{Params, WeightError};

/// Normalises groups of channels of `[batch, channels, ...]` over the group and all positions.
#[derive(Debug)]
pub struct GroupNorm {
    weight: Tensor,
    bias: Tensor,
    groups: usize,
    eps: f64,
}

impl GroupNorm {
    /// Loads `weight` and `bias` of `channels`, which `groups` divides (the configuration is checked).
    ///
    /// # Errors
    /// A tensor is missing or has another shape.
    pub fn load(
        p: &Params,
        groups: usize,
        channels: usize,
        eps: f64,
    ) -> std::result::Result<Self, WeightError> {
        let weight = p.tensor("weight", &[channels])?;
        Ok(Self { weight, bias: p.tensor("bias", &[channels])?, groups, eps })
    }

    /// Applies the normalisation.
    pub fn forward(&self, x: &Tensor) -> Result<Tensor> {
        let dims = x.dims().to_vec();
        let (batch, channels) = (dims[0], dims[1]);
        let grouped = x.reshape((batch, self.groups, ()))?;
        let centred = grouped.broadcast_sub(&grouped.mean_keepdim(D::Minus1)?)?;
        let variance = centred.sqr()?.mean_keepdim(D::Minus1)?;
        let normal = centred.broadcast_div(&(variance + self.eps)?.sqrt()?)?;
        let normal = normal.reshape((batch, channels, ()))?;
        let weight = self.weight.reshape((1, channels, 1))?;
        let bias = self.bias.reshape((1, channels, 1))?;
        normal.broadcast_mul(&weight)?.broadcast_add(&bias)?.reshape(dims)
    }
}

/// Normalises the last dimension.
#[derive(Debug)]
pub struct LayerNorm {
    weight: Tensor,
    bias: Tensor,
    eps: f32,
}

impl LayerNorm {
    /// Loads `weight` and `bias`.
    ///
    /// # Errors
    /// A tensor is missing or has another shape.
    pub fn load(p: &Params, width: usize, eps: f32) -> std::result::Result<Self, WeightError> {
        let weight = p.tensor("weight", &[width])?;
        Ok(Self { weight, bias: p.tensor("bias", &[width])?, eps })
    }

    /// Applies the normalisation.
    pub fn forward(&self, x: &Tensor) -> Result<Tensor> {
        let x = x.contiguous()?;
        if x.track_op() || self.weight.track_op() {
            candle_nn::ops::layer_norm_slow(&x, &self.weight, &self.bias, self.eps)
        } else {
            candle_nn::ops::layer_norm(&x, &self.weight, &self.bias, self.eps)
        }
    }
}
