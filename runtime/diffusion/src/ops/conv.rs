//! Two-dimensional convolution.

use candle_core::{Result, Tensor};

use crate::weights::{Padding, Params, SidePath, WeightError};

use super::gradient::{link2, link3};
use super::linear::bias_gradient;
use super::resize::pad_circular;

/// `weight: [out, in, kernel, kernel]`, `bias: [out]`; input and output are `[batch, channels, h, w]`.
#[derive(Debug)]
pub struct Conv2d {
    weight: Tensor,
    bias: Option<Tensor>,
    stride: usize,
    padding: usize,
    beyond: Padding,
    side: Option<SidePath>,
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
        let (beyond, side) = (p.options().padding, p.side().cloned());
        Ok(Self { weight, bias: None, stride, padding, beyond, side })
    }

    /// Applies the convolution, and the path beside it, if there is one.
    pub fn forward(&self, x: &Tensor) -> Result<Tensor> {
        let (x, padding) = match self.beyond {
            Padding::Circular if self.padding > 0 => (pad_circular(x, self.padding)?, 0),
            Padding::Circular | Padding::Zeros => (x.contiguous()?, self.padding),
        };
        let y = if x.track_op() || self.weight.track_op() {
            convolve(&x, &self.weight, self.bias.as_ref(), padding, self.stride)?
        } else {
            let y = x.conv2d(&self.weight, padding, self.stride, 1, 1)?;
            match &self.bias {
                Some(bias) => y.broadcast_add(&bias.reshape((1, bias.elem_count(), 1, 1))?)?,
                None => y,
            }
        };
        match &self.side {
            Some(side) => {
                let low = convolve(&side.dropped(&x)?, &side.down, None, padding, self.stride)?;
                y + (convolve(&low, &side.up, None, 0, 1)? * side.scale)?
            }
            None => Ok(y),
        }
    }
}

/// The convolution as a function of input, weight and bias, of which each may be trained.
///
/// candle's own backward takes one size of what stride 2 left over for both directions, and its transposed
/// convolution is scalar; here the gradient of the input is a convolution too.
fn convolve(
    x: &Tensor,
    weight: &Tensor,
    bias: Option<&Tensor>,
    padding: usize,
    stride: usize,
) -> Result<Tensor> {
    let y = x.detach().contiguous()?.conv2d(&weight.detach(), padding, stride, 1, 1)?;
    let gradients = move |x: &Tensor, weight: &Tensor, grad: &Tensor| {
        let grad = grad.contiguous()?;
        let of_x = if x.track_op() {
            Some(input_gradient(&grad, &weight.detach(), x.dims4()?, padding, stride)?)
        } else {
            None
        };
        let of_weight = if weight.track_op() {
            Some(weight_gradient(&grad, &x.detach(), weight.dims4()?, padding, stride)?)
        } else {
            None
        };
        Ok::<_, candle_core::Error>((of_x, of_weight))
    };
    let Some(bias) = bias else {
        return link2("conv2d", [x, weight], y, move |[x, weight]: [&Tensor; 2], grad: &Tensor| {
            let (of_x, of_weight) = gradients(x, weight, grad)?;
            Ok([of_x, of_weight])
        });
    };
    let y = y.broadcast_add(&bias.detach().reshape((1, bias.elem_count(), 1, 1))?)?;
    link3("conv2d", [x, weight, bias], y, move |[x, weight, bias]: [&Tensor; 3], grad: &Tensor| {
        let (of_x, of_weight) = gradients(x, weight, grad)?;
        Ok([of_x, of_weight, bias_gradient(bias, grad, 1)?])
    })
}

/// The gradient, with zeros between its values where the stride was larger than 1, under the kernel turned
/// by half a turn.
fn input_gradient(
    grad: &Tensor,
    weight: &Tensor,
    (_, _, height, width): (usize, usize, usize, usize),
    padding: usize,
    stride: usize,
) -> Result<Tensor> {
    let kernel = weight.dim(2)?;
    let (batch, channels, h, w) = grad.dims4()?;
    let mut spread = grad.clone();
    if stride > 1 {
        let cells = grad.reshape((batch * channels, h, 1, w, 1))?;
        let cells = cells.pad_with_zeros(2, 0, stride - 1)?.pad_with_zeros(4, 0, stride - 1)?;
        spread = cells.reshape((batch, channels, h * stride, w * stride))?;
    }
    for (dim, size) in [(2, height), (3, width)] {
        let (has, wants) = (spread.dim(dim)?, (size + 2 * padding + 1).saturating_sub(kernel));
        spread = if has > wants {
            spread.narrow(dim, 0, wants)?
        } else {
            spread.pad_with_zeros(dim, 0, wants - has)?
        };
    }
    let mut turned = weight.transpose(0, 1)?.contiguous()?;
    if kernel > 1 {
        turned = turned.flip(&[2, 3])?;
    }
    spread.contiguous()?.conv2d(&turned, kernel - 1 - padding, 1, 1, 1)
}

/// The input under the gradient as the kernel, batch and channels exchanged.
fn weight_gradient(
    grad: &Tensor,
    x: &Tensor,
    (_, _, kernel, _): (usize, usize, usize, usize),
    padding: usize,
    stride: usize,
) -> Result<Tensor> {
    let x = x.transpose(0, 1)?.contiguous()?;
    let all = x.conv2d(&grad.transpose(0, 1)?.contiguous()?, padding, 1, stride, 1)?;
    // What the stride left over at the end saw no output.
    all.narrow(2, 0, kernel)?.narrow(3, 0, kernel)?.transpose(0, 1)?.contiguous()
}

type LoadResult<T> = std::result::Result<T, WeightError>;
