//! Group and layer normalisation.

use candle_core::{D, Result, Tensor};

use crate::weights::{Params, WeightError};

use super::gradient::link1;

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
        if x.track_op() && !self.weight.track_op() {
            return self.frozen(x);
        }
        self.composed(x)
    }

    fn composed(&self, x: &Tensor) -> Result<Tensor> {
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

    /// A layer that is not trained, as a function of its input.
    fn frozen(&self, x: &Tensor) -> Result<Tensor> {
        let (weight, groups, eps) = (self.weight.clone(), self.groups, self.eps);
        let y = self.composed(&x.detach())?;
        link1("group-norm", x, y, move |[x]: [&Tensor; 1], grad: &Tensor| {
            let (batch, channels) = (x.dim(0)?, x.dim(1)?);
            let grad = grad.contiguous()?.reshape((batch, channels, ()))?;
            let grad = grad.broadcast_mul(&weight.reshape((1, channels, 1))?)?;
            let grad = grad.reshape((batch, groups, ()))?;
            let of_x = normal_gradient(&x.detach().contiguous()?.reshape((batch, groups, ()))?, &grad, eps)?;
            Ok([Some(of_x.reshape(x.shape())?)])
        })
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
    /// A layer of these tensors, which may be trained.
    pub(crate) fn of(weight: Tensor, bias: Tensor) -> Self {
        Self { weight, bias, eps: 1e-5 }
    }

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
        if x.track_op() && !self.weight.track_op() {
            self.frozen(&x)
        } else if self.weight.track_op() {
            candle_nn::ops::layer_norm_slow(&x, &self.weight, &self.bias, self.eps)
        } else {
            candle_nn::ops::layer_norm(&x, &self.weight, &self.bias, self.eps)
        }
    }

    /// A layer that is not trained, as a function of its input.
    fn frozen(&self, x: &Tensor) -> Result<Tensor> {
        let (weight, eps) = (self.weight.clone(), f64::from(self.eps));
        let y = candle_nn::ops::layer_norm(&x.detach(), &self.weight, &self.bias, self.eps)?;
        link1("layer-norm", x, y, move |[x]: [&Tensor; 1], grad: &Tensor| {
            Ok([Some(normal_gradient(&x.detach(), &grad.broadcast_mul(&weight)?, eps)?)])
        })
    }
}

/// The gradient of `x`, given that of `x` normalised over its last dimension.
fn normal_gradient(x: &Tensor, grad: &Tensor, eps: f64) -> Result<Tensor> {
    let centred = x.broadcast_sub(&x.mean_keepdim(D::Minus1)?)?;
    let deviation = (centred.sqr()?.mean_keepdim(D::Minus1)? + eps)?.sqrt()?;
    let normal = centred.broadcast_div(&deviation)?;
    let along = (grad * &normal)?.mean_keepdim(D::Minus1)?;
    let rest = grad.broadcast_sub(&grad.mean_keepdim(D::Minus1)?)?;
    rest.sub(&normal.broadcast_mul(&along)?)?.broadcast_div(&deviation)
}
