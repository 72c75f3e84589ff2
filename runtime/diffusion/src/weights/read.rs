//! Bytes of single tensors, read from the file when they are asked for: what copies or merges files that
//! are larger than memory.
//!
//! Positioned reads and no memory map where tensors lie row by row: pages of a map count as this process's
//! memory, and a file that is truncated meanwhile gives an error here instead of a signal.

use std::fs::File;
use std::io::{ErrorKind, Read, Seek, SeekFrom};

use super::header::{Header, TensorEntry};
use super::mapped::MappedFile;
use super::params::WeightError;
use super::store::FileHeader;

/// An open file of which single tensors are read.
#[derive(Debug)]
pub(crate) struct TensorReader {
    path: String,
    file: File,
    /// For tensors that lie scattered; `None` where there are none.
    map: Option<MappedFile>,
}

impl TensorReader {
    /// The header, and a reader of what it names.
    ///
    /// # Errors
    /// The file cannot be mapped.
    pub(crate) fn open(file: FileHeader) -> Result<(Header, Self), WeightError> {
        let FileHeader { path, header, file, .. } = file;
        let path = path.display().to_string();
        let scattered = header.tensors.values().any(|entry| entry.strides.is_some());
        let map = if scattered { Some(MappedFile::open(&file)) } else { None };
        let map = map.transpose().map_err(|source| WeightError::Io { path: path.clone(), source })?;
        Ok((header, Self { path, file, map }))
    }

    /// Fills `buffer` from byte `offset` of the tensor's elements row by row, as the file stores each
    /// element. Where they lie scattered, both are multiples of an element's size.
    ///
    /// # Errors
    /// The file cannot be read, or became shorter.
    pub(crate) fn read(
        &self,
        entry: &TensorEntry,
        offset: u64,
        buffer: &mut [u8],
    ) -> Result<(), WeightError> {
        if let Some(strides) = &entry.strides {
            let bytes = self.map.as_ref().map(MappedFile::bytes).unwrap_or_default();
            let gathered = gather(bytes, entry, strides, offset, buffer);
            return gathered.ok_or_else(|| WeightError::Shrank { path: self.path.clone() });
        }
        let mut file = &self.file;
        file.seek(SeekFrom::Start(entry.begin + offset)).and_then(|_| file.read_exact(buffer)).map_err(
            |source| match source.kind() {
                ErrorKind::UnexpectedEof => WeightError::Shrank { path: self.path.clone() },
                _ => WeightError::Io { path: self.path.clone(), source },
            },
        )
    }
}

/// The elements from the one at byte `offset` on; `None` if `bytes` ends before them.
fn gather(
    bytes: &[u8],
    entry: &TensorEntry,
    strides: &[usize],
    offset: u64,
    buffer: &mut [u8],
) -> Option<()> {
    let size = entry.dtype.bits().div_ceil(8) as usize;
    let begin = usize::try_from(entry.begin).ok()?;
    let mut rest = usize::try_from(offset).ok()? / size;
    let mut index = vec![0_usize; entry.shape.len()];
    for (i, d) in index.iter_mut().zip(&entry.shape).rev() {
        *i = rest % (*d).max(1);
        rest /= (*d).max(1);
    }
    for out in buffer.chunks_exact_mut(size) {
        let place: usize = index.iter().zip(strides).map(|(i, s)| i * s).sum();
        let at = begin + place * size;
        out.copy_from_slice(bytes.get(at..at + size)?);
        for (i, d) in index.iter_mut().zip(&entry.shape).rev() {
            *i += 1;
            if *i < *d {
                break;
            }
            *i = 0;
        }
    }
    Some(())
}

#[cfg(test)]
mod tests {
    use super::super::dtype::Dtype;
    use super::*;

    #[test]
    fn scattered_elements_come_row_by_row_from_any_start() {
        // [[0, 1, 2], [3, 4, 5]] of two bytes each, behind one other element; read as its transpose.
        let bytes: Vec<u8> = [99_u16, 0, 1, 2, 3, 4, 5].iter().flat_map(|v| v.to_le_bytes()).collect();
        let strides = vec![1, 3];
        let entry = TensorEntry {
            dtype: Dtype::I16,
            shape: vec![3, 2],
            begin: 2,
            end: 14,
            strides: Some(strides.clone()),
        };
        for first in 0..6 {
            let mut buffer = vec![0; (6 - first) * 2];
            gather(&bytes, &entry, &strides, first as u64 * 2, &mut buffer).unwrap();
            let got: Vec<u16> = buffer.as_chunks().0.iter().map(|b| u16::from_le_bytes(*b)).collect();
            assert_eq!(got, [0, 3, 1, 4, 2, 5][first..], "{first}");
        }
        assert!(gather(&bytes[..10], &entry, &strides, 0, &mut [0; 12]).is_none());
    }
}
