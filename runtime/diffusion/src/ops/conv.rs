//! Two-dimensional convolution.

use candle_core::{Result, Tensor};

use crate::weights::{Padding, Params, WeightError};

use super::resize::pad_circular;

/// `weight: [out, in, kernel, kernel]`, `bias: [out]`; input and output are `[batch, channels, h, w]`.
#[derive(Debug)]
pub struct Conv2d {
    weight: Tensor,
    bias: Option<Tensor>,
    stride: usize,
    padding: usize,
    beyond: Padding,
}

impl Conv2d {
    /// Loads `weight` and `bias`; the padding keeps the size at stride 1.
    ///
    /// # Errors
    /// A tensor is missing or has another shape.
    pub fn load(p: &Params, input: usize, output: usize, kernel: usize) -> LoadResult<Self> {
        Self::load_strided(p, input, output, kernel, 1, kernel / 2)
    }

    /// Loads with stride and padding.
    ///
    /// # Errors
    /// As for [`Conv2d::load`].
    pub fn load_strided(
        p: &Params,
        input: usize,
        output: usize,
        kernel: usize,
        stride: usize,
        padding: usize,
    ) -> LoadResult<Self> {
        let bias = Some(p.tensor("bias", &[output])?);
        Ok(Self { bias, ..Self::load_unbiased(p, input, output, kernel, stride, padding)? })
    }

    /// Loads a convolution that has no bias.
    ///
    /// # Errors
    /// As for [`Conv2d::load`].
    pub fn load_unbiased(
        p: &Params,
        input: usize,
        output: usize,
        kernel: usize,
        stride: usize,
        padding: usize,
    ) -> LoadResult<Self> {
        let weight = p.tensor("weight", &[output, input, kernel, kernel])?;
        Ok(Self { weight, bias: None, stride, padding, beyond: p.options().padding })
    }

    /// Applies the convolution.
    pub fn forward(&self, x: &Tensor) -> Result<Tensor> {
        let (x, padding) = match self.beyond {
            Padding::Circular if self.padding > 0 => (pad_circular(x, self.padding)?, 0),
            Padding::Circular | Padding::Zeros => (x.contiguous()?, self.padding),
        };
        let y = x.conv2d(&self.weight, padding, self.stride, 1, 1)?;
        match &self.bias {
            Some(bias) => y.broadcast_add(&bias.reshape((1, bias.elem_count(), 1, 1))?),
            None => Ok(y),
        }
    }
}

type LoadResult<T> = std::result::Result<T, WeightError>;
