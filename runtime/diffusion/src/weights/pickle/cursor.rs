//! Reading numbers and strings out of bytes, never past their end.

use std::ops::Range;

use super::error::PickleError;

/// A place in the bytes of a pickle.
#[derive(Debug)]
pub(super) struct Cursor<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Cursor<'a> {
    pub(super) fn new(bytes: &'a [u8], at: usize) -> Self {
        Self { bytes, at }
    }

    pub(super) fn at(&self) -> usize {
        self.at
    }

    pub(super) fn bytes(&self) -> &'a [u8] {
        self.bytes
    }

    /// The next `count` bytes as a range, so that values need not copy them.
    pub(super) fn range(&mut self, count: u64) -> Result<Range<usize>, PickleError> {
        let end = usize::try_from(count).ok().and_then(|n| self.at.checked_add(n));
        let end = end.filter(|end| *end <= self.bytes.len());
        let range = self.at..end.ok_or(PickleError::Truncated { size: self.bytes.len() })?;
        self.at = range.end;
        Ok(range)
    }

    pub(super) fn array<const N: usize>(&mut self) -> Result<[u8; N], PickleError> {
        let range = self.range(N as u64)?;
        let array = self.bytes.get(range).and_then(|b| b.first_chunk::<N>());
        array.copied().ok_or(PickleError::Truncated { size: self.bytes.len() })
    }

    pub(super) fn u8(&mut self) -> Result<u8, PickleError> {
        Ok(self.array::<1>()?[0])
    }

    pub(super) fn u16(&mut self) -> Result<u16, PickleError> {
        Ok(u16::from_le_bytes(self.array()?))
    }

    pub(super) fn u32(&mut self) -> Result<u32, PickleError> {
        Ok(u32::from_le_bytes(self.array()?))
    }

    pub(super) fn i32(&mut self) -> Result<i32, PickleError> {
        Ok(i32::from_le_bytes(self.array()?))
    }

    pub(super) fn u64(&mut self) -> Result<u64, PickleError> {
        Ok(u64::from_le_bytes(self.array()?))
    }

    /// Up to the next line feed, which is passed over.
    pub(super) fn line(&mut self) -> Result<&'a [u8], PickleError> {
        let rest = self.bytes.get(self.at..).unwrap_or_default();
        let length = rest.iter().position(|b| *b == b'\n');
        let length = length.ok_or(PickleError::Truncated { size: self.bytes.len() })?;
        self.at += length + 1;
        Ok(&rest[..length])
    }

    /// Two's complement, little-endian, of any length; numbers beyond 64 bits are `None`.
    pub(super) fn long(&mut self, count: u64) -> Result<Option<i64>, PickleError> {
        let range = self.range(count)?;
        let bytes = &self.bytes[range];
        if bytes.len() > 8 {
            return Ok(None);
        }
        let negative = bytes.last().is_some_and(|b| b & 0x80 != 0);
        let mut filled = [if negative { 0xff } else { 0 }; 8];
        filled[..bytes.len()].copy_from_slice(bytes);
        Ok(Some(i64::from_le_bytes(filled)))
    }
}
