//! The zip archive that `torch.save` writes: its entries are stored, so every tensor is a plain range
//! of the file.

use std::collections::HashMap;
use std::ops::Range;

use super::error::{PickleError, clip};

const END_MAGIC: u32 = 0x0605_4b50;
const END64_LOCATOR_MAGIC: u32 = 0x0706_4b50;
const END64_MAGIC: u32 = 0x0606_4b50;
const CENTRAL_MAGIC: u32 = 0x0201_4b50;
const LOCAL_MAGIC: u32 = 0x0403_4b50;
/// The end record and the longest comment behind it.
const MAX_TAIL: usize = 22 + 0xffff;
/// Most entries; one per storage, of which SDXL has 2,515.
const MAX_ENTRIES: u64 = 250_000;

/// Where each entry's bytes lie, by its name without the archive's top folder.
#[derive(Debug)]
pub(super) struct Archive<'a> {
    bytes: &'a [u8],
    entries: HashMap<&'a [u8], Entry>,
}

#[derive(Debug, Clone, Copy)]
struct Entry {
    header: u64,
    size: u64,
    /// Compression method 0, sizes equal, no encryption.
    plain: bool,
}

impl<'a> Archive<'a> {
    /// Reads the central directory; no entry is touched.
    pub(super) fn open(bytes: &'a [u8]) -> Result<Self, PickleError> {
        let (at, count) = find_directory(bytes)?;
        if count > MAX_ENTRIES {
            return Err(PickleError::Limit { what: "archive entries", value: count, limit: MAX_ENTRIES });
        }
        let mut all = Vec::new();
        let mut at = at;
        for _ in 0..count {
            let (name, entry, next) =
                central_entry(bytes, at).ok_or_else(|| damaged("its directory is cut short"))?;
            all.push((name, entry));
            at = next;
        }
        let root = all
            .iter()
            .find_map(|(name, _)| name.strip_suffix(b"data.pkl").filter(|root| is_folder(root)))
            .ok_or(PickleError::NotACheckpoint)?;
        let mut entries = HashMap::new();
        for (name, entry) in &all {
            let Some(name) = name.strip_prefix(root) else { continue };
            if entries.insert(name, *entry).is_some() {
                return Err(damaged(format!("the entry `{}` is there twice", clip(name))));
            }
        }
        Ok(Self { bytes, entries })
    }

    /// The bytes of an entry as a range of the file; `None` if there is no such entry.
    ///
    /// # Errors
    /// It is compressed, or its local header contradicts the directory.
    pub(super) fn range(&self, name: &[u8]) -> Result<Option<Range<u64>>, PickleError> {
        let Some(entry) = self.entries.get(name) else { return Ok(None) };
        if !entry.plain {
            return Err(PickleError::Compressed { entry: clip(name) });
        }
        let range = local_range(self.bytes, entry, name);
        range.map(Some).ok_or_else(|| damaged(format!("the entry `{}` lies about its place", clip(name))))
    }

    /// The bytes of an entry.
    pub(super) fn read(&self, name: &[u8]) -> Result<Option<&'a [u8]>, PickleError> {
        let range = self.range(name)?;
        Ok(range.and_then(|r| self.bytes.get(r.start as usize..r.end as usize)))
    }
}

fn damaged(detail: impl Into<String>) -> PickleError {
    PickleError::Archive { detail: detail.into() }
}

/// `archive/`, or nothing.
fn is_folder(root: &[u8]) -> bool {
    root.is_empty() || root.iter().position(|b| *b == b'/') == Some(root.len() - 1)
}

/// Where the central directory begins, and how many entries it has.
fn find_directory(bytes: &[u8]) -> Result<(u64, u64), PickleError> {
    let tail = bytes.len().saturating_sub(MAX_TAIL);
    let last = bytes.len().checked_sub(22).ok_or_else(|| damaged("it has no end record"))?;
    let end = (tail..=last)
        .rev()
        .find(|at| u32_at(bytes, *at as u64) == Some(END_MAGIC))
        .ok_or_else(|| damaged("it has no end record; the file is truncated"))? as u64;
    let read = || Some((u64::from(u16_at(bytes, end + 10)?), u64::from(u32_at(bytes, end + 16)?)));
    let (count, at) = read().ok_or_else(|| damaged("its end record is cut short"))?;
    if count != 0xffff && at != 0xffff_ffff {
        return Ok((at, count));
    }
    find_directory64(bytes, end).ok_or_else(|| damaged("its zip64 end record is missing"))
}

fn find_directory64(bytes: &[u8], end: u64) -> Option<(u64, u64)> {
    let locator = end.checked_sub(20)?;
    if u32_at(bytes, locator)? != END64_LOCATOR_MAGIC {
        return None;
    }
    let record = u64_at(bytes, locator + 8)?;
    if u32_at(bytes, record)? != END64_MAGIC {
        return None;
    }
    Some((u64_at(bytes, record.checked_add(48)?)?, u64_at(bytes, record + 32)?))
}

/// One record of the central directory: name, entry, where the next one begins.
fn central_entry(bytes: &[u8], at: u64) -> Option<(&[u8], Entry, u64)> {
    if u32_at(bytes, at)? != CENTRAL_MAGIC {
        return None;
    }
    let flags = u16_at(bytes, at + 8)?;
    let method = u16_at(bytes, at + 10)?;
    let packed = u64::from(u32_at(bytes, at + 20)?);
    let mut size = u64::from(u32_at(bytes, at + 24)?);
    let mut header = u64::from(u32_at(bytes, at + 42)?);
    let lengths = [28, 30, 32].map(|field| u16_at(bytes, at + field).map(u64::from));
    let [Some(name_len), Some(extra_len), Some(comment_len)] = lengths else { return None };
    let name = slice(bytes, at + 46, name_len)?;
    let extra = slice(bytes, at + 46 + name_len, extra_len)?;
    let mut same_size = packed == size;
    if let Some(wide) = zip64_extra(extra) {
        // The wide fields stand in this order, each only if its narrow one is full.
        let mut wide = wide.as_chunks::<8>().0.iter().map(|b| u64::from_le_bytes(*b));
        let mut widen = |narrow: u64| if narrow == 0xffff_ffff { wide.next() } else { Some(narrow) };
        let plain = widen(size);
        same_size = widen(packed) == plain;
        size = plain?;
        header = widen(header)?;
    }
    let plain = method == 0 && flags & 0x2041 == 0 && same_size;
    Some((name, Entry { header, size, plain }, at + 46 + name_len + extra_len + comment_len))
}

/// The extra field with the number 1.
fn zip64_extra(mut extra: &[u8]) -> Option<&[u8]> {
    loop {
        let (head, rest) = extra.split_first_chunk::<4>()?;
        let length = usize::from(u16::from_le_bytes([head[2], head[3]]));
        let field = rest.get(..length)?;
        if (head[0], head[1]) == (1, 0) {
            return Some(field);
        }
        extra = &rest[length..];
    }
}

/// The entry's data, behind its local header, whose name must be the directory's.
fn local_range(bytes: &[u8], entry: &Entry, name: &[u8]) -> Option<Range<u64>> {
    let at = entry.header;
    if u32_at(bytes, at)? != LOCAL_MAGIC || u16_at(bytes, at + 8)? != 0 {
        return None;
    }
    let name_len = u64::from(u16_at(bytes, at + 26)?);
    let extra_len = u64::from(u16_at(bytes, at + 28)?);
    if !slice(bytes, at + 30, name_len)?.ends_with(name) {
        return None;
    }
    let start = at + 30 + name_len + extra_len;
    let end = start.checked_add(entry.size).filter(|end| *end <= bytes.len() as u64)?;
    Some(start..end)
}

fn slice(bytes: &[u8], at: u64, length: u64) -> Option<&[u8]> {
    let end = at.checked_add(length)?;
    bytes.get(usize::try_from(at).ok()?..usize::try_from(end).ok()?)
}

fn u16_at(bytes: &[u8], at: u64) -> Option<u16> {
    Some(u16::from_le_bytes(*slice(bytes, at, 2)?.first_chunk()?))
}

fn u32_at(bytes: &[u8], at: u64) -> Option<u32> {
    Some(u32::from_le_bytes(*slice(bytes, at, 4)?.first_chunk()?))
}

fn u64_at(bytes: &[u8], at: u64) -> Option<u64> {
    Some(u64::from_le_bytes(*slice(bytes, at, 8)?.first_chunk()?))
}
