//! Results that were computed outside of candle's graph, put into it with a backward of their own.
//!
//! candle's own backward multiplies out the gradient of every operand, trained or not: of a frozen layer it
//! would compute, and keep to the end, a gradient as large as the layer. It also keeps what each step of a
//! composition saw. An operation here keeps its inputs only, and computes what somebody asked for.

use std::sync::{Mutex, PoisonError};

use candle_core::{CpuStorage, CustomOp1, CustomOp2, CustomOp3, Layout, Result, Shape, Tensor};

/// The gradients of the inputs of an operation, `None` for those that are not trained: of the inputs and
/// of the gradient of the result.
pub(super) trait Backward<const N: usize>: Send + Sync + 'static {
    fn gradients(&self, inputs: [&Tensor; N], grad: &Tensor) -> Result<[Option<Tensor>; N]>;
}

impl<const N: usize, F> Backward<N> for F
where
    F: Fn([&Tensor; N], &Tensor) -> Result<[Option<Tensor>; N]> + Send + Sync + 'static,
{
    fn gradients(&self, inputs: [&Tensor; N], grad: &Tensor) -> Result<[Option<Tensor>; N]> {
        self(inputs, grad)
    }
}

/// A computed result, until the graph has it, and how its gradient goes on.
struct Linked<B> {
    name: &'static str,
    result: Mutex<Option<Tensor>>,
    backward: B,
}

/// `result` (f32, computed from `x` detached) as a function of `x`.
pub(super) fn link1(
    name: &'static str,
    x: &Tensor,
    result: Tensor,
    backward: impl Backward<1>,
) -> Result<Tensor> {
    x.apply_op1(Linked::new(name, result, backward))
}

/// As [`link1`], of two inputs.
pub(super) fn link2(
    name: &'static str,
    [a, b]: [&Tensor; 2],
    result: Tensor,
    backward: impl Backward<2>,
) -> Result<Tensor> {
    a.apply_op2(b, Linked::new(name, result, backward))
}

/// As [`link1`], of three inputs.
pub(super) fn link3(
    name: &'static str,
    [a, b, c]: [&Tensor; 3],
    result: Tensor,
    backward: impl Backward<3>,
) -> Result<Tensor> {
    a.apply_op3(b, c, Linked::new(name, result, backward))
}

impl<B> Linked<B> {
    fn new(name: &'static str, result: Tensor, backward: B) -> Self {
        Self { name, result: Mutex::new(Some(result)), backward }
    }

    /// The result, which is copied and let go: a graph holds every operation to its end.
    fn stored(&self) -> Result<(CpuStorage, Shape)> {
        let result = self.result.lock().unwrap_or_else(PoisonError::into_inner).take();
        let again = || candle_core::Error::Msg(format!("{} is computed once", self.name));
        let result = result.ok_or_else(again)?;
        Ok((CpuStorage::F32(result.flatten_all()?.to_vec1::<f32>()?), result.shape().clone()))
    }
}

impl<B: Backward<1>> CustomOp1 for Linked<B> {
    fn name(&self) -> &'static str {
        self.name
    }

    fn cpu_fwd(&self, _: &CpuStorage, _: &Layout) -> Result<(CpuStorage, Shape)> {
        self.stored()
    }

    fn bwd(&self, x: &Tensor, _: &Tensor, grad: &Tensor) -> Result<Option<Tensor>> {
        let [x] = self.backward.gradients([x], grad)?;
        Ok(x)
    }
}

impl<B: Backward<2>> CustomOp2 for Linked<B> {
    fn name(&self) -> &'static str {
        self.name
    }

    fn cpu_fwd(&self, _: &CpuStorage, _: &Layout, _: &CpuStorage, _: &Layout) -> Result<(CpuStorage, Shape)> {
        self.stored()
    }

    fn bwd(
        &self,
        a: &Tensor,
        b: &Tensor,
        _: &Tensor,
        grad: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>)> {
        let [a, b] = self.backward.gradients([a, b], grad)?;
        Ok((a, b))
    }
}

impl<B: Backward<3>> CustomOp3 for Linked<B> {
    fn name(&self) -> &'static str {
        self.name
    }

    fn cpu_fwd(
        &self,
        _: &CpuStorage,
        _: &Layout,
        _: &CpuStorage,
        _: &Layout,
        _: &CpuStorage,
        _: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        self.stored()
    }

    fn bwd(
        &self,
        a: &Tensor,
        b: &Tensor,
        c: &Tensor,
        _: &Tensor,
        grad: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>, Option<Tensor>)> {
        let [a, b, c] = self.backward.gradients([a, b, c], grad)?;
        Ok((a, b, c))
    }
}
