//! Matrix multiplication with an optional bias.

use candle_core::{Result, Tensor};

use crate::weights::{Params, SidePath, WeightError};

use super::gradient::link2;

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
        let y = if x.track_op() || self.weight.track_op() { self.trained(x)? } else { self.fixed(x)? };
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

    /// The same for a layer that is trained, or whose input is.
    fn trained(&self, x: &Tensor) -> Result<Tensor> {
        let y = product(&self.weight, x)?;
        match &self.bias {
            Some(bias) => add_bias(&y, bias, y.rank() - 1),
            None => Ok(y),
        }
    }
}

/// `x · weightᵀ` as a function of both, with all rows as one matrix.
fn product(weight: &Tensor, x: &Tensor) -> Result<Tensor> {
    let (flat, w) = (rows(&x.detach())?, weight.detach());
    let mut out = x.dims().to_vec();
    if let Some(last) = out.last_mut() {
        *last = w.dim(0)?;
    }
    let y = flat.matmul(&w.t()?)?.reshape(out)?;
    link2("linear", [x, weight], y, |[x, weight]: [&Tensor; 2], _: &Tensor, grad: &Tensor| {
        let grad = rows(grad)?;
        let of_x = if x.track_op() { Some(grad.matmul(&weight.detach())?.reshape(x.shape())?) } else { None };
        let of_weight = if weight.track_op() { Some(grad.t()?.matmul(&rows(&x.detach())?)?) } else { None };
        Ok([of_x, of_weight])
    })
}

/// Adds `bias` along the dimension `dim`.
pub(super) fn add_bias(y: &Tensor, bias: &Tensor, dim: usize) -> Result<Tensor> {
    let along = |y: &Tensor, bias: &Tensor| {
        let shape: Vec<usize> = (0..y.rank()).map(|d| if d == dim { bias.elem_count() } else { 1 }).collect();
        bias.reshape(shape)
    };
    let sum = y.detach().broadcast_add(&along(y, &bias.detach())?)?;
    link2("bias", [y, bias], sum, move |[y, bias]: [&Tensor; 2], _: &Tensor, grad: &Tensor| {
        let others: Vec<usize> = (0..grad.rank()).filter(|d| *d != dim).collect();
        let of_bias = if bias.track_op() { Some(grad.sum(others.as_slice())?) } else { None };
        Ok([y.track_op().then(|| grad.clone()), of_bias])
    })
}

/// What the path beside a layer adds, in proportion to its scale.
fn beside(side: &SidePath, x: &Tensor) -> Result<Tensor> {
    let x = side.dropped(x)?;
    // The factors of a 1x1 convolution that is computed as a matrix have four dimensions.
    let (down, up) = (side.down.flatten_from(1)?, side.up.flatten_from(1)?);
    product(&up, &product(&down, &x)?)? * side.scale
}

fn rows(x: &Tensor) -> Result<Tensor> {
    let input = x.dims().last().copied().unwrap_or(1);
    x.contiguous()?.reshape(((), input))
}
