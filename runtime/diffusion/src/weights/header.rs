//! The safetensors header: eight bytes of length, then JSON, then the tensors' bytes.
//!
//! Every number in it is checked against the file's size with arithmetic that cannot wrap, and the
//! tensors must tile the data without a hole or an overlap, so later code may trust the offsets.

use std::collections::{BTreeMap, HashSet};
use std::fmt;

use serde::de::{Deserialize, Deserializer, Error as _, IgnoredAny, MapAccess, Visitor};

use super::dtype::Dtype;
use super::error::HeaderError;
use super::sniff::name_of_foreign_format;

/// Largest header accepted. The biggest known models need 2 MB; the format's own reader stops at 100 MB.
pub const MAX_HEADER_BYTES: u64 = 100_000_000;
/// Most tensors accepted. SDXL has 2,515; merges with adapters stay under 20,000.
pub(super) const MAX_TENSORS: usize = 200_000;
/// Most dimensions accepted; convolutions have 4.
pub(super) const MAX_RANK: usize = 16;

/// One tensor of a checked header; `begin..end` are bytes from the start of the *file*.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TensorEntry {
    pub dtype: Dtype,
    pub shape: Vec<usize>,
    pub begin: u64,
    pub end: u64,
    /// Elements between neighbours of each dimension; `None` where they lie row by row without gaps, as
    /// in every safetensors file. `begin..end` then spans the first element to the last.
    pub strides: Option<Vec<usize>>,
}

impl TensorEntry {
    /// Number of elements; cannot overflow, for the header check multiplied the shape with care.
    pub fn elements(&self) -> u64 {
        self.shape.iter().map(|d| *d as u64).product()
    }

    /// The `part`th of `parts` equal blocks of rows, as of a matrix that stacks queries, keys and values.
    /// `None` if the rows do not divide, or do not lie one after the other.
    pub fn rows(&self, part: usize, parts: usize) -> Option<Self> {
        let (first, rest) = self.shape.split_first()?;
        if parts == 0 || part >= parts || !first.is_multiple_of(parts) || self.strides.is_some() {
            return None;
        }
        let block = (self.end - self.begin) / parts as u64;
        let begin = self.begin + block * part as u64;
        let shape = std::iter::once(first / parts).chain(rest.iter().copied()).collect();
        Some(Self { dtype: self.dtype, shape, begin, end: begin + block, strides: None })
    }

    /// A matrix with its rows as columns; `None` for what is no matrix.
    pub fn transposed(&self) -> Option<Self> {
        let [rows, columns] = self.shape.as_slice() else { return None };
        let strides = match self.strides.as_deref() {
            Some([row, column]) => vec![*column, *row],
            _ => vec![1, *columns],
        };
        Some(Self { shape: vec![*columns, *rows], strides: Some(strides), ..self.clone() })
    }
}

/// A header that passed every check.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Header {
    pub tensors: BTreeMap<String, TensorEntry>,
    pub metadata: BTreeMap<String, String>,
    pub file_len: u64,
}

/// How many bytes of the file [`Header::parse`] needs, told from the first eight (give more if there
/// are more: foreign formats are recognised by them).
pub fn required_prefix(prefix: &[u8], file_len: u64) -> Result<u64, HeaderError> {
    if let Some((found, remedy)) = name_of_foreign_format(prefix) {
        return Err(HeaderError::Foreign { found, remedy });
    }
    if file_len < 8 {
        return Err(HeaderError::TooSmall { size: file_len });
    }
    let Some(length) = prefix.first_chunk::<8>() else {
        return Err(HeaderError::Incomplete { have: prefix.len() as u64, need: 8 });
    };
    let claimed = u64::from_le_bytes(*length);
    if claimed > MAX_HEADER_BYTES {
        return Err(HeaderError::TooLarge { claimed, limit: MAX_HEADER_BYTES });
    }
    if claimed > file_len - 8 {
        return Err(HeaderError::BeyondFile { claimed, size: file_len });
    }
    Ok(8 + claimed)
}

impl Header {
    /// Checks the header in `prefix`, the first bytes of a file of `file_len` bytes.
    ///
    /// # Errors
    /// [`HeaderError::Incomplete`] says how many bytes are needed; every other error is final.
    pub fn parse(prefix: &[u8], file_len: u64) -> Result<Self, HeaderError> {
        let need = required_prefix(prefix, file_len)?;
        let have = prefix.len() as u64;
        let end = usize::try_from(need).map_err(|_| HeaderError::Incomplete { have, need })?;
        let json = prefix.get(8..end).ok_or(HeaderError::Incomplete { have, need })?;
        let text = std::str::from_utf8(json).map_err(|e| HeaderError::Malformed {
            detail: format!("byte {} is not UTF-8", e.valid_up_to()),
        })?;
        if !text.starts_with('{') {
            return Err(HeaderError::Malformed { detail: "it does not begin with `{`".into() });
        }
        let raw: RawHeader =
            serde_json::from_str(text).map_err(|e| HeaderError::Malformed { detail: e.to_string() })?;
        if let Some(name) = raw.duplicate {
            return Err(HeaderError::Duplicate { name });
        }
        if raw.tensors.len() > MAX_TENSORS {
            return Err(HeaderError::TooManyTensors { count: raw.tensors.len(), limit: MAX_TENSORS });
        }
        let tensors = check_tensors(raw.tensors, need, file_len)?;
        Ok(Self { tensors, metadata: raw.metadata, file_len })
    }
}

fn check_tensors(
    raw: Vec<(String, RawTensor)>,
    data_start: u64,
    file_len: u64,
) -> Result<BTreeMap<String, TensorEntry>, HeaderError> {
    let available = file_len - data_start;
    let mut tensors = BTreeMap::new();
    let mut order = Vec::with_capacity(raw.len());
    for (name, tensor) in raw {
        let (dtype, begin, end) = check_one(&name, &tensor, available)?;
        order.push((begin, end, name.clone()));
        // The lengths were checked against the file's size, but an empty tensor may still carry any number.
        let shape: Option<Vec<usize>> = tensor.shape.iter().map(|d| usize::try_from(*d).ok()).collect();
        let shape = shape.ok_or_else(|| HeaderError::Overflow {
            name: name.clone(),
            shape: tensor.shape.clone(),
            dtype: dtype.name(),
        })?;
        tensors.insert(
            name,
            TensorEntry { dtype, shape, begin: data_start + begin, end: data_start + end, strides: None },
        );
    }
    check_tiling(order, available)?;
    Ok(tensors)
}

fn check_one(name: &str, tensor: &RawTensor, available: u64) -> Result<(Dtype, u64, u64), HeaderError> {
    let dtype = Dtype::parse(&tensor.dtype).ok_or_else(|| HeaderError::Dtype {
        name: name.into(),
        dtype: tensor.dtype.chars().take(32).collect(),
    })?;
    if tensor.shape.len() > MAX_RANK {
        return Err(HeaderError::Malformed {
            detail: format!("`{name}` has {} dimensions, the limit is {MAX_RANK}", tensor.shape.len()),
        });
    }
    let [begin, end] = tensor.data_offsets;
    if begin > end {
        return Err(HeaderError::Reversed { name: name.into(), begin, end });
    }
    if end > available {
        return Err(HeaderError::OutOfBounds { name: name.into(), end, available });
    }
    let overflow =
        || HeaderError::Overflow { name: name.into(), shape: tensor.shape.clone(), dtype: dtype.name() };
    let bits = product(&tensor.shape).and_then(|n| n.checked_mul(dtype.bits())).ok_or_else(overflow)?;
    let (need, span) = (bits.div_ceil(8), end - begin);
    if need != span || bits % 8 != 0 {
        return Err(HeaderError::Length {
            name: name.into(),
            shape: tensor.shape.clone(),
            dtype: dtype.name(),
            need,
            span,
        });
    }
    Ok((dtype, begin, end))
}

/// The product of a shape. A zero anywhere does not excuse the other factors: `[0, 2^63, 4]` has no
/// element, yet code that multiplies from the right would overflow on it.
fn product(shape: &[u64]) -> Option<u64> {
    shape.iter().filter(|d| **d != 0).try_fold(1_u64, |n, d| n.checked_mul(*d))?;
    Some(shape.iter().product())
}

/// The tensors, ordered by offset, must follow one another from the first byte to the last.
fn check_tiling(mut order: Vec<(u64, u64, String)>, available: u64) -> Result<(), HeaderError> {
    order.sort();
    let mut at = 0;
    let mut last = String::new();
    for (begin, end, name) in order {
        if begin < at {
            return Err(HeaderError::Overlap { first: last, second: name });
        }
        if begin > at {
            return Err(HeaderError::Hole { name, bytes: begin - at });
        }
        at = end;
        last = name;
    }
    if at != available {
        return Err(HeaderError::Trailing { bytes: available - at });
    }
    Ok(())
}

#[derive(serde::Deserialize)]
struct RawTensor {
    dtype: String,
    shape: Vec<u64>,
    data_offsets: [u64; 2],
}

/// The JSON as written, with the first name that stands twice (a map type would swallow it).
struct RawHeader {
    tensors: Vec<(String, RawTensor)>,
    metadata: BTreeMap<String, String>,
    duplicate: Option<String>,
}

impl<'de> Deserialize<'de> for RawHeader {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(RawHeaderVisitor)
    }
}

struct RawHeaderVisitor;

impl<'de> Visitor<'de> for RawHeaderVisitor {
    type Value = RawHeader;

    fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str("an object of tensors")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<RawHeader, A::Error> {
        let mut out = RawHeader { tensors: Vec::new(), metadata: BTreeMap::new(), duplicate: None };
        let mut seen = HashSet::new();
        while let Some(name) = map.next_key::<String>()? {
            if !seen.insert(name.clone()) {
                out.duplicate.get_or_insert(name);
                map.next_value::<IgnoredAny>()?;
            } else if name == "__metadata__" {
                out.metadata = map.next_value::<Metadata>()?.0;
            } else if out.tensors.len() > MAX_TENSORS {
                return Err(A::Error::custom(format_args!("more than {MAX_TENSORS} tensors")));
            } else {
                let tensor = map.next_value()?;
                out.tensors.push((name, tensor));
            }
        }
        Ok(out)
    }
}

/// Metadata maps strings to strings; some writers put `null` for an empty map.
struct Metadata(BTreeMap<String, String>);

impl<'de> Deserialize<'de> for Metadata {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(Self(Option::<BTreeMap<String, String>>::deserialize(deserializer)?.unwrap_or_default()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(json: &str, data: usize) -> (Vec<u8>, u64) {
        let mut bytes = (json.len() as u64).to_le_bytes().to_vec();
        bytes.extend(json.as_bytes());
        let len = (bytes.len() + data) as u64;
        (bytes, len)
    }

    fn reason_of(json: &str, data: usize) -> &'static str {
        let (bytes, len) = file(json, data);
        match Header::parse(&bytes, len) {
            Ok(_) => "ok",
            Err(e) => e.reason(),
        }
    }

    #[test]
    fn hostile_headers_are_refused_by_name() {
        let cases = [
            ("honest", r#"{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}}"#, 8, "ok"),
            ("empty model", "{}", 0, "ok"),
            ("padded with spaces", r#"{"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]}}   "#, 1, "ok"),
            ("scalar", r#"{"a":{"dtype":"F32","shape":[],"data_offsets":[0,4]}}"#, 4, "ok"),
            ("metadata only", r#"{"__metadata__":{"k":"v"}}"#, 0, "ok"),
            ("metadata of numbers", r#"{"__metadata__":{"k":1}}"#, 0, "InvalidHeader"),
            ("not an object", "[1,2]", 0, "InvalidHeader"),
            ("cut JSON", r#"{"a":{"dtype":"F32","#, 0, "InvalidHeader"),
            ("text after the JSON", "{}{}", 0, "InvalidHeader"),
            (
                "negative offset",
                r#"{"a":{"dtype":"U8","shape":[1],"data_offsets":[-1,0]}}"#,
                1,
                "InvalidHeader",
            ),
            ("float shape", r#"{"a":{"dtype":"U8","shape":[1.5],"data_offsets":[0,1]}}"#, 1, "InvalidHeader"),
            (
                "three offsets",
                r#"{"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1,2]}}"#,
                1,
                "InvalidHeader",
            ),
            ("unknown type", r#"{"a":{"dtype":"Q8","shape":[1],"data_offsets":[0,1]}}"#, 1, "InvalidHeader"),
            (
                "same name twice",
                r#"{"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]},"a":{"dtype":"U8","shape":[1],"data_offsets":[1,2]}}"#,
                2,
                "InvalidHeader",
            ),
            (
                "shape overflows",
                r#"{"a":{"dtype":"F32","shape":[4294967296,4294967296,4],"data_offsets":[0,0]}}"#,
                0,
                "InvalidTensorSize",
            ),
            (
                "shape wraps to zero behind a zero",
                r#"{"a":{"dtype":"F32","shape":[0,9223372036854775808,4],"data_offsets":[0,0]}}"#,
                0,
                "InvalidTensorSize",
            ),
            (
                "length differs",
                r#"{"a":{"dtype":"F32","shape":[3],"data_offsets":[0,8]}}"#,
                8,
                "InvalidTensorSize",
            ),
            (
                "half a byte",
                r#"{"a":{"dtype":"F4","shape":[3],"data_offsets":[0,2]}}"#,
                2,
                "InvalidTensorSize",
            ),
            (
                "beyond the file",
                r#"{"a":{"dtype":"F32","shape":[4],"data_offsets":[0,16]}}"#,
                8,
                "TruncatedFile",
            ),
            (
                "offset of 2^64-1",
                r#"{"a":{"dtype":"U8","shape":[1],"data_offsets":[18446744073709551614,18446744073709551615]}}"#,
                1,
                "TruncatedFile",
            ),
            (
                "end before begin",
                r#"{"a":{"dtype":"U8","shape":[1],"data_offsets":[2,1]}}"#,
                2,
                "InvalidTensorOffsets",
            ),
            (
                "overlap",
                r#"{"a":{"dtype":"U8","shape":[4],"data_offsets":[0,4]},"b":{"dtype":"U8","shape":[4],"data_offsets":[2,6]}}"#,
                6,
                "InvalidTensorOffsets",
            ),
            (
                "the same bytes twice",
                r#"{"a":{"dtype":"U8","shape":[4],"data_offsets":[0,4]},"b":{"dtype":"U8","shape":[4],"data_offsets":[0,4]}}"#,
                4,
                "InvalidTensorOffsets",
            ),
            (
                "hole in front",
                r#"{"a":{"dtype":"U8","shape":[1],"data_offsets":[1,2]}}"#,
                2,
                "InvalidTensorOffsets",
            ),
            (
                "bytes left over",
                r#"{"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]}}"#,
                9,
                "InvalidTensorOffsets",
            ),
        ];
        for (name, json, data, want) in cases {
            assert_eq!(reason_of(json, data), want, "{name}");
        }
    }

    #[test]
    fn a_lying_length_is_refused_before_anything_is_allocated() {
        let two_gigabytes = 2_147_483_648_u64.to_le_bytes();
        let cases: [(&str, Vec<u8>, u64, &str); 6] = [
            ("2 GB header", two_gigabytes.to_vec(), 1 << 40, "HeaderTooLarge"),
            ("length of 2^64-1", [0xff; 8].to_vec(), 1000, "HeaderTooLarge"),
            ("longer than the file", 1000_u64.to_le_bytes().to_vec(), 1007, "TruncatedFile"),
            ("seven bytes", vec![1; 7], 7, "TruncatedFile"),
            ("empty", vec![], 0, "TruncatedFile"),
            ("prefix too short", 100_u64.to_le_bytes().to_vec(), 1000, "HeaderIncomplete"),
        ];
        for (name, bytes, len, want) in cases {
            assert_eq!(Header::parse(&bytes, len).map_err(|e| e.reason()), Err(want), "{name}");
        }
        let (bytes, len) = file("{}", 0);
        let short = Header::parse(&bytes[..9], len);
        assert_eq!(short, Err(HeaderError::Incomplete { have: 9, need: 10 }));
    }

    #[test]
    fn foreign_files_name_what_they_are_and_the_remedy() {
        for prefix in [b"PK\x03\x04aaaaaaaa".as_slice(), b"\x80\x02}q\x01X....", b"<!DOCTYPE html><p>"] {
            let error = Header::parse(prefix, 5000).unwrap_err();
            assert_eq!(error.reason(), "NotSafetensors");
            assert!(error.to_string().contains(": "), "{error}");
        }
    }
}
