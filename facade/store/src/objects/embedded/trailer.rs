//! How an object lies in its file: first its bytes, then what is known about them, so that one rename brings
//! both and a range of the object is the same range of the file.
//!
//! ```text
//! bytes of the object | JSON of Trailer | length of the JSON, u32 little-endian | "EASELOB1"
//! ```

use std::fs::File;
use std::io::{self, Read as _, Seek as _, SeekFrom};

use serde::{Deserialize, Serialize};

const MAGIC: &[u8; 8] = b"EASELOB1";
const TAIL_BYTES: u64 = 12;
/// Content type and user metadata come in HTTP headers, which are far smaller.
const MAX_JSON_BYTES: u64 = 1 << 20;

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Trailer {
    pub(super) size: u64,
    /// Without quotes.
    pub(super) etag: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) content_type: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) content_disposition: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) content_encoding: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) cache_control: Option<String>,
    /// `x-amz-meta-…`
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) metadata: Vec<(String, String)>,
}

impl Trailer {
    pub(super) fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = serde_json::to_vec(self).expect("plain data with string keys is always JSON");
        let length = u32::try_from(bytes.len()).expect("headers are shorter than 4 GB");
        bytes.extend_from_slice(&length.to_le_bytes());
        bytes.extend_from_slice(MAGIC);
        bytes
    }

    /// Reads the trailer; the file stands at the object's first byte afterwards.
    pub(super) fn read(file: &mut File) -> io::Result<Self> {
        let damaged = |what: &str| io::Error::new(io::ErrorKind::InvalidData, format!("object file: {what}"));
        let length = file.metadata()?.len();
        let tail_at = length.checked_sub(TAIL_BYTES).ok_or_else(|| damaged("too short"))?;
        let mut tail = [0; TAIL_BYTES as usize];
        file.seek(SeekFrom::Start(tail_at))?;
        file.read_exact(&mut tail)?;
        let [a, b, c, d, magic @ ..] = tail;
        if magic != *MAGIC {
            return Err(damaged("not one of ours"));
        }
        let json_bytes = u64::from(u32::from_le_bytes([a, b, c, d]));
        let json_at = tail_at.checked_sub(json_bytes).filter(|_| json_bytes <= MAX_JSON_BYTES);
        let json_at = json_at.ok_or_else(|| damaged("trailer longer than the file"))?;
        file.seek(SeekFrom::Start(json_at))?;
        let mut json = Vec::new();
        file.by_ref().take(json_bytes).read_to_end(&mut json)?;
        let trailer: Self = serde_json::from_slice(&json).map_err(|_| damaged("trailer is no JSON"))?;
        if trailer.size != json_at {
            return Err(damaged("of another size than it was stored with"));
        }
        file.seek(SeekFrom::Start(0))?;
        Ok(trailer)
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    fn file_of(bytes: &[u8]) -> File {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(bytes).unwrap();
        file
    }

    #[test]
    fn a_trailer_reads_back_and_damage_is_noticed() {
        let trailer = Trailer { size: 5, etag: "e".into(), ..Trailer::default() };
        let whole = [b"hello", &*trailer.to_bytes()].concat();
        assert_eq!(Trailer::read(&mut file_of(&whole)).unwrap(), trailer);
        let mut longer = whole.clone();
        let end = longer.len();
        longer[end - 12..end - 8].copy_from_slice(&u32::MAX.to_le_bytes());
        let cases = [
            ("empty", vec![]),
            ("cut", whole[1..].to_vec()),
            ("no tail", whole[..20].to_vec()),
            ("lies", longer),
        ];
        for (name, bytes) in cases {
            assert!(Trailer::read(&mut file_of(&bytes)).is_err(), "{name}");
        }
    }
}
