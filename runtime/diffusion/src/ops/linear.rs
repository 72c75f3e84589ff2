//! Matrix multiplication with an optional bias.

use candle_core::{Result, Tensor};

use crate::weights::{Params, WeightError};

/// `weight: [out, in]`; input `[..., in]`, output `[..., out]`.
#[derive(Debug)]
pub struct Linear {
    weight: Tensor,
    bias: Option<Tensor>,
}

impl Linear {
    /// Loads `weight` and `bias`.
    ///
    /// # Errors
    /// A tensor is missing or has another shape.
    pub fn load(p: &Params, input: usize, output: usize) -> std::result::Result<Self, WeightError> {
        let weight = p.matrix("weight", output, input)?;
        Ok(Self { weight, bias: Some(p.tensor("bias", &[output])?) })
    }

    /// Loads a layer that has no bias.
    ///
    /// # Errors
    /// As for [`Linear::load`].
    pub fn load_unbiased(p: &Params, input: usize, output: usize) -> std::result::Result<Self, WeightError> {
        Ok(Self { weight: p.matrix("weight", output, input)?, bias: None })
    }

    /// Multiplies one batch item at a time: a product of one row takes another kernel than one of
    /// several, with other rounding, and a batch item must not feel its company. For `[batch, in]` this
    /// means row by row, which only the small time embeddings are.
    pub fn forward(&self, x: &Tensor) -> Result<Tensor> {
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
