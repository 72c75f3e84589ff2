//! Variables as plain numbers, and back.

use candle_core::Tensor;

use super::error::RunError;
use crate::train::NamedVar;

/// The elements of a variable, row by row.
pub(super) fn read(variable: &NamedVar) -> Result<Vec<f32>, RunError> {
    elements(variable.var.as_tensor()).map_err(|source| failed(variable, source))
}

/// The elements of any tensor.
pub(super) fn elements(tensor: &Tensor) -> candle_core::Result<Vec<f32>> {
    tensor.flatten_all()?.to_vec1()
}

/// Changes a variable in place: whoever shares its memory sees it.
pub(super) fn write(variable: &NamedVar, values: Vec<f32>) -> Result<(), RunError> {
    let set = || {
        let tensor = Tensor::from_vec(values, variable.var.shape(), variable.var.device())?;
        variable.var.set(&tensor)
    };
    set().map_err(|source| failed(variable, source))
}

pub(super) fn failed(variable: &NamedVar, source: candle_core::Error) -> RunError {
    RunError::Variable { name: variable.name.clone(), source }
}
