//! A tensor as the pickle describes it, checked against the bytes that hold its storage.

use std::ops::Range;

use super::super::dtype::Dtype;
use super::super::header::TensorEntry;
use super::arena::Storage;
use super::error::PickleError;

/// What `_rebuild_tensor` was given; nothing in it is trusted.
#[derive(Debug, Clone)]
pub(super) struct View {
    pub storage: Storage,
    pub dtype: Dtype,
    /// The first element, counted in elements from the start of the storage.
    pub first: u64,
    pub shape: Vec<u64>,
    pub strides: Vec<i64>,
}

impl View {
    /// The entry of this tensor in a file where its storage lies at `place`.
    ///
    /// # Errors
    /// An element lies outside of the storage, or there are more of them than the storage holds: views
    /// that repeat elements could ask for any amount of memory.
    pub(super) fn entry(&self, name: &str, place: &Range<u64>) -> Result<TensorEntry, PickleError> {
        self.checked(place).ok_or_else(|| PickleError::OutOfStorage {
            name: name.to_owned(),
            view: format!(
                "{} of shape {:?} and strides {:?} from element {}",
                self.dtype.name(),
                self.shape,
                self.strides,
                self.first
            ),
            available: place.end.saturating_sub(place.start),
        })
    }

    fn checked(&self, place: &Range<u64>) -> Option<TensorEntry> {
        let size = self.dtype.bits().div_ceil(8);
        let bytes = place.end.checked_sub(place.start)?;
        let available = self.storage_elements(size)?.min(bytes / size);
        if self.shape.len() != self.strides.len() {
            return None;
        }
        let shape: Vec<usize> = self.shape.iter().map(|d| usize::try_from(*d).ok()).collect::<Option<_>>()?;
        let strides: Vec<usize> =
            self.strides.iter().map(|s| usize::try_from(*s).ok()).collect::<Option<_>>()?;
        // Zeros do not excuse the other factors; later code multiplies them in any order.
        shape.iter().filter(|d| **d != 0).try_fold(size, |n, d| n.checked_mul(*d as u64))?;
        let elements: u64 = self.shape.iter().product();
        if elements == 0 {
            return Some(TensorEntry {
                dtype: self.dtype,
                shape,
                begin: place.start,
                end: place.start,
                strides: None,
            });
        }
        let mut span = 0_u64;
        for (d, s) in shape.iter().zip(&strides) {
            span = span.checked_add((*d as u64 - 1).checked_mul(*s as u64)?)?;
        }
        let end = self.first.checked_add(span)?.checked_add(1)?;
        if end > available || elements > available {
            return None;
        }
        let strides = (!is_contiguous(&shape, &strides)).then_some(strides);
        let (begin, end) = (place.start + self.first * size, place.start + end * size);
        Some(TensorEntry { dtype: self.dtype, shape, begin, end, strides })
    }

    /// How many elements of this tensor's type the storage claims to hold.
    fn storage_elements(&self, size: u64) -> Option<u64> {
        match self.storage.dtype {
            None => Some(self.storage.elements / size),
            Some(dtype) if dtype == self.dtype => Some(self.storage.elements),
            Some(_) => None,
        }
    }
}

/// Row by row without gaps; the stride of a dimension of one element says nothing.
fn is_contiguous(shape: &[usize], strides: &[usize]) -> bool {
    let mut want = 1_usize;
    shape.iter().zip(strides).rev().all(|(d, s)| {
        let fits = *d == 1 || *s == want;
        want = want.saturating_mul(*d);
        fits
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn view(first: u64, shape: &[u64], strides: &[i64]) -> View {
        let storage = Storage { dtype: Some(Dtype::F32), key: 0..1, elements: 12 };
        View { storage, dtype: Dtype::F32, first, shape: shape.to_vec(), strides: strides.to_vec() }
    }

    #[test]
    fn views_stay_inside_their_storage() {
        let huge = u64::MAX / 2;
        type Case<'a> = (&'a str, u64, &'a [u64], &'a [i64], Option<(u64, u64, bool)>);
        let cases: &[Case] = &[
            ("whole", 0, &[3, 4], &[4, 1], Some((100, 148, false))),
            ("transposed", 0, &[4, 3], &[1, 4], Some((100, 148, true))),
            ("second row", 4, &[4], &[1], Some((116, 132, false))),
            ("scalar", 11, &[], &[], Some((144, 148, false))),
            ("empty", 99, &[0, 4], &[4, 1], Some((100, 100, false))),
            ("one past the end", 1, &[3, 4], &[4, 1], None),
            ("negative stride", 11, &[4], &[-1], None),
            ("a repeated element", 0, &[13], &[0], None),
            ("a shape that overflows", 0, &[huge, 4], &[4, 1], None),
            ("empty, and overflows", 0, &[0, huge, 4], &[4, 1, 1], None),
            ("a stride that overflows", 0, &[3], &[i64::MAX], None),
            ("a start that overflows", u64::MAX, &[2], &[1], None),
            ("ranks that differ", 0, &[3, 4], &[1], None),
        ];
        for (name, first, shape, strides, want) in cases {
            let entry = view(*first, shape, strides).entry("t", &(100..148)).ok();
            assert_eq!(entry.map(|e| (e.begin, e.end, e.strides.is_some())), *want, "{name}");
        }
        // The storage's own claim binds too, and so do the bytes behind it.
        assert!(view(0, &[12], &[1]).entry("t", &(100..147)).is_err());
        assert!(view(0, &[13], &[1]).entry("t", &(100..1000)).is_err());
        let error = view(1, &[3, 4], &[4, 1]).entry("unet.x", &(100..148)).unwrap_err();
        assert_eq!(error.reason(), "InvalidTensorOffsets");
        assert!(error.to_string().starts_with("`unet.x`: F32 of shape [3, 4] and strides [4, 1]"), "{error}");
    }
}
