//! Matrix multiplication with an optional bias.

use candle_core::{Result, Tensor};

use crate::weights::{Params, SidePath, WeightError};

use super::gradient::{link2, link3};

/// `weight: [out, in]`; input `[..., in]`, output `[..., out]`.
#[derive(Debug)]
pub struct Linear {
    weight: Tensor,
    bias: Option<Tensor>,
    side: Option<SidePath>,
}

impl Linear {
    /// A layer of these tensors, which may be trained.
    pub(crate) fn of(weight: Tensor, bias: Option<Tensor>) -> Self {
        Self { weight, bias, side: None }
    }

    /// Loads `weight` and `bias`.
    ///
    /// # Errors
    /// A tensor is missing or has another shape.
    pub fn load(p: &Params, input: usize, output: usize) -> std::result::Result<Self, WeightError> {
        let weight = p.matrix("weight", output, input)?;
        Ok(Self { weight, bias: Some(p.tensor("bias", &[output])?), side: p.side().cloned() })
    }

    /// Loads a layer that has no bias.
    ///
    /// # Errors
    /// As for [`Linear::load`].
    pub fn load_unbiased(p: &Params, input: usize, output: usize) -> std::result::Result<Self, WeightError> {
        Ok(Self { weight: p.matrix("weight", output, input)?, bias: None, side: p.side().cloned() })
    }

    /// The product, with the bias and the path beside the layer, if there are any.
    pub fn forward(&self, x: &Tensor) -> Result<Tensor> {
        let is_trained = x.track_op() || self.weight.track_op();
        let y = if is_trained { product(&self.weight, self.bias.as_ref(), x)? } else { self.fixed(x)? };
        match &self.side {
            Some(side) => y + beside(side, x)?,
            None => Ok(y),
        }
    }

    /// Multiplies one batch item at a time: a product of one row takes another kernel than one of
    /// several, with other rounding, and a batch item must not feel its company. For `[batch, in]` this
    /// means row by row, which only the small time embeddings are.
    fn fixed(&self, x: &Tensor) -> Result<Tensor> {
        let dims = x.dims().to_vec();
        let (batch, input) = (dims[0], dims[dims.len() - 1]);
        let rows = dims[1..dims.len() - 1].iter().product::<usize>();
        let x = x.reshape((batch, rows, input))?;
        let wt = self.weight.t()?;
        let mut items = Vec::with_capacity(batch);
        for i in 0..batch {
            items.push(x.get(i)?.matmul(&wt)?);
        }
        let y = if batch == 1 { items.remove(0) } else { Tensor::cat(&items, 0)? };
        let y = match &self.bias {
            Some(bias) => y.broadcast_add(bias)?,
            None => y,
        };
        let mut out = dims;
        *out.last_mut().expect("reshape above proved at least one dimension") = self.weight.dim(0)?;
        y.reshape(out)
    }
}

/// `x · weightᵀ + bias` as a function of all three, with all rows as one matrix.
fn product(weight: &Tensor, bias: Option<&Tensor>, x: &Tensor) -> Result<Tensor> {
    let w = weight.detach();
    let mut out = x.dims().to_vec();
    if let Some(last) = out.last_mut() {
        *last = w.dim(0)?;
    }
    let y = rows(&x.detach())?.matmul(&w.t()?)?;
    let gradients = |x: &Tensor, weight: &Tensor, grad: &Tensor| {
        let grad = rows(grad)?;
        let of_x = if x.track_op() { Some(grad.matmul(&weight.detach())?.reshape(x.shape())?) } else { None };
        let of_weight = if weight.track_op() { Some(grad.t()?.matmul(&rows(&x.detach())?)?) } else { None };
        Ok::<_, candle_core::Error>((of_x, of_weight))
    };
    let Some(bias) = bias else {
        return link2(
            "linear",
            [x, weight],
            y.reshape(out)?,
            move |[x, weight]: [&Tensor; 2], grad: &Tensor| {
                let (of_x, of_weight) = gradients(x, weight, grad)?;
                Ok([of_x, of_weight])
            },
        );
    };
    let y = y.broadcast_add(&bias.detach())?.reshape(out)?;
    link3("linear", [x, weight, bias], y, move |[x, weight, bias]: [&Tensor; 3], grad: &Tensor| {
        let (of_x, of_weight) = gradients(x, weight, grad)?;
        Ok([of_x, of_weight, bias_gradient(bias, grad, grad.rank() - 1)?])
    })
}

/// The sum over all dimensions but the one that the bias goes along.
pub(super) fn bias_gradient(bias: &Tensor, grad: &Tensor, dim: usize) -> Result<Option<Tensor>> {
    if !bias.track_op() {
        return Ok(None);
    }
    let others: Vec<usize> = (0..grad.rank()).filter(|d| *d != dim).collect();
    grad.sum(others.as_slice()).map(Some)
}

/// What the path beside a layer adds, in proportion to its scale.
fn beside(side: &SidePath, x: &Tensor) -> Result<Tensor> {
    let x = side.dropped(x)?;
    // The factors of a 1x1 convolution that is computed as a matrix have four dimensions.
    let (down, up) = (side.down.flatten_from(1)?, side.up.flatten_from(1)?);
    product(&up, None, &product(&down, None, &x)?)? * side.scale
}

fn rows(x: &Tensor) -> Result<Tensor> {
    let input = x.dims().last().copied().unwrap_or(1);
    x.contiguous()?.reshape(((), input))
}
