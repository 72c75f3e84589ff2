//! The steps of a network: computed one after the other, or by somebody who can compute each again.

use candle_core::{Result, Tensor};

/// Computes the steps of a network.
///
/// A step is a function of the tensors it is given, and of weights and settings that do not change while
/// the walk lasts. What comes back is given to later steps.
pub(crate) trait Walk<'n> {
    /// Computes one step.
    fn step<const N: usize>(
        &mut self,
        inputs: [&Tensor; N],
        run: impl Fn([&Tensor; N]) -> Result<Tensor> + 'n,
    ) -> Result<Tensor>;
}

/// Computes, and keeps nothing but what candle's graph keeps.
///
/// A tensor that is trained enters each step under an own name: what the step's operations say of it is summed
/// up by itself, then with what other steps say. So whoever computes steps one by one gets the same bits.
pub(crate) struct Direct;

impl<'n> Walk<'n> for Direct {
    fn step<const N: usize>(
        &mut self,
        inputs: [&Tensor; N],
        run: impl Fn([&Tensor; N]) -> Result<Tensor> + 'n,
    ) -> Result<Tensor> {
        let own = |x: &&Tensor| if x.track_op() { x.reshape(x.shape()) } else { Ok((*x).clone()) };
        let inputs = inputs.iter().map(own).collect::<Result<Vec<_>>>()?;
        run(std::array::from_fn(|i| &inputs[i]))
    }
}
