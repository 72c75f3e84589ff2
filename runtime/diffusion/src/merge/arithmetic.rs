//! The numbers: one tensor's elements combined in f32, and element types turned into each other.
//!
//! Every operation is rounded by itself, in the order in which the web UI's expressions compute them
//! (`tests/golden/merge/make.py`); a multiplication fused with an addition would differ in the last bit.

use half::slice::HalfFloatSliceExt;
use half::{bf16, f16};

use crate::weights::Dtype;

use super::plan::Method;

/// A method with its weight, as numbers that tensors are multiplied by.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Formula {
    /// `left * a + right * b`.
    Sum { left: f32, right: f32 },
    /// `a + by * (b - c)`.
    Difference { by: f32 },
    /// `a + (b - a) * by`.
    Towards { by: f32 },
}

impl Formula {
    /// Weights are f64 until they meet a tensor, as Python's floats are.
    pub(super) fn new(method: Method, weight: f64) -> Self {
        match method {
            Method::WeightedSum => Self::Sum { left: (1.0 - weight) as f32, right: weight as f32 },
            Method::AddDifference => Self::Difference { by: weight as f32 },
            Method::Sigmoid => Self::Towards { by: (weight * weight * (3.0 - 2.0 * weight)) as f32 },
            Method::InverseSigmoid => {
                let by = 0.5 - ((1.0 - 2.0 * weight).asin() / 3.0).sin();
                Self::Towards { by: by as f32 }
            }
        }
    }

    /// Puts the result into `a`. `c` is as long as the others where this is a difference.
    pub(super) fn apply(self, a: &mut [f32], b: &[f32], c: &[f32]) {
        match self {
            Self::Sum { left, right } => {
                for (a, b) in a.iter_mut().zip(b) {
                    *a = left * *a + right * *b;
                }
            }
            Self::Difference { by } => {
                for ((a, b), c) in a.iter_mut().zip(b).zip(c) {
                    *a += by * (*b - *c);
                }
            }
            Self::Towards { by } => {
                for (a, b) in a.iter_mut().zip(b) {
                    *a += (*b - *a) * by;
                }
            }
        }
    }
}

/// Turns element types into each other, in memory that is used again.
#[derive(Debug, Default)]
pub(super) struct Converter {
    f16s: Vec<f16>,
    bf16s: Vec<bf16>,
}

impl Converter {
    /// The elements in `bytes` as f32, exactly but for f64. `None` for a type that is no float.
    pub(super) fn decode(&mut self, dtype: Dtype, bytes: &[u8], out: &mut Vec<f32>) -> Option<()> {
        out.clear();
        match dtype {
            Dtype::F32 => out.extend(bytes.as_chunks().0.iter().map(|b| f32::from_le_bytes(*b))),
            Dtype::F64 => out.extend(bytes.as_chunks().0.iter().map(|b| f64::from_le_bytes(*b) as f32)),
            Dtype::F16 => {
                self.f16s.clear();
                self.f16s.extend(bytes.as_chunks().0.iter().map(|b| f16::from_le_bytes(*b)));
                out.resize(self.f16s.len(), 0.0);
                self.f16s.convert_to_f32_slice(out);
            }
            Dtype::Bf16 => {
                self.bf16s.clear();
                self.bf16s.extend(bytes.as_chunks().0.iter().map(|b| bf16::from_le_bytes(*b)));
                out.resize(self.bf16s.len(), 0.0);
                self.bf16s.convert_to_f32_slice(out);
            }
            _ => return None,
        }
        Some(())
    }

    /// The bytes of `values`, rounded to the nearest, to even between two. The index of the first that
    /// does not fit or is no number, if `strict`.
    pub(super) fn encode(
        &mut self,
        dtype: Dtype,
        values: &[f32],
        strict: bool,
        out: &mut Vec<u8>,
    ) -> Result<(), usize> {
        out.clear();
        let mut bad = values.iter().position(|v| !v.is_finite());
        match dtype {
            Dtype::F16 => {
                self.f16s.clear();
                self.f16s.resize(values.len(), f16::ZERO);
                self.f16s.convert_from_f32_slice(values);
                bad = bad.or_else(|| self.f16s.iter().position(|v| !v.is_finite()));
                out.extend(self.f16s.iter().flat_map(|v| v.to_le_bytes()));
            }
            Dtype::Bf16 => {
                self.bf16s.clear();
                self.bf16s.resize(values.len(), bf16::ZERO);
                self.bf16s.convert_from_f32_slice(values);
                bad = bad.or_else(|| self.bf16s.iter().position(|v| !v.is_finite()));
                out.extend(self.bf16s.iter().flat_map(|v| v.to_le_bytes()));
            }
            _ => out.extend(values.iter().flat_map(|v| v.to_le_bytes())),
        }
        bad.filter(|_| strict).map_or(Ok(()), Err)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ends_of_every_method_are_its_sources() {
        for (method, weight, want) in [
            (Method::WeightedSum, 0.0, 3.0),
            (Method::WeightedSum, 1.0, 7.0),
            (Method::Sigmoid, 0.0, 3.0),
            (Method::Sigmoid, 0.5, 5.0),
            (Method::Sigmoid, 1.0, 7.0),
            (Method::InverseSigmoid, 0.0, 3.0),
            (Method::InverseSigmoid, 0.5, 5.0),
            (Method::InverseSigmoid, 1.0, 7.0),
            (Method::AddDifference, 0.5, 6.0),
        ] {
            let mut a = [3.0];
            Formula::new(method, weight).apply(&mut a, &[7.0], &[1.0]);
            assert_eq!(a, [want], "{method:?} {weight}");
        }
    }

    #[test]
    fn types_round_to_even_and_what_does_not_fit_is_found() {
        let mut converter = Converter::default();
        let (mut bytes, mut back) = (Vec::new(), Vec::new());
        // Halfway between two neighbours of each type.
        for (dtype, value, want) in [
            (Dtype::F16, 1.0 + 0.5 / 1024.0, 1.0),
            (Dtype::F16, 1.0 + 1.5 / 1024.0, 1.0 + 2.0 / 1024.0),
            (Dtype::Bf16, 1.0 + 0.5 / 128.0, 1.0),
            (Dtype::Bf16, 1.0 + 1.5 / 128.0, 1.0 + 2.0 / 128.0),
            (Dtype::F32, 0.1, 0.1),
        ] {
            converter.encode(dtype, &[value; 9], true, &mut bytes).unwrap();
            converter.decode(dtype, &bytes, &mut back).unwrap();
            assert_eq!(back, [want; 9], "{dtype:?}");
        }
        assert_eq!(converter.encode(Dtype::F16, &[1.0, 70000.0], true, &mut bytes), Err(1));
        assert_eq!(converter.encode(Dtype::F16, &[1.0, 70000.0], false, &mut bytes), Ok(()));
        assert_eq!(converter.encode(Dtype::F32, &[f32::NAN], true, &mut bytes), Err(0));
        assert!(converter.decode(Dtype::I64, &[0; 8], &mut back).is_none());
    }
}
