//! The small picture that a file carries as a data URL.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::de::{Deserialize, Deserializer, Error as _};
use serde::{Serialize, Serializer};

/// Largest picture taken, in bytes; ModelSpec asks for 256 KiB at most.
const MAX_BYTES: usize = 256 << 10;

/// Media type, and what its files begin with; the second part stands at byte 8.
const TYPES: &[(&str, &[u8], &[u8])] = &[
    ("image/png", b"\x89PNG\r\n\x1a\n", b""),
    ("image/jpeg", b"\xff\xd8\xff", b""),
    ("image/webp", b"RIFF", b"WEBP"),
    ("image/gif", b"GIF8", b""),
];

/// A picture of a known type, at most 256 KiB; its pixels were not looked at.
#[derive(Clone, PartialEq, Eq)]
pub struct Thumbnail {
    media_type: &'static str,
    bytes: Vec<u8>,
}

impl Thumbnail {
    /// Reads `data:image/…;base64,…`. The bytes' own beginning says what it is, not the URL.
    pub fn parse(url: &str) -> Option<Self> {
        let (head, data) = url.strip_prefix("data:image/")?.split_once(',')?;
        // Four characters for three bytes; nothing longer is decoded at all.
        if !head.ends_with(";base64") || data.len() > MAX_BYTES.div_ceil(3) * 4 {
            return None;
        }
        let bytes = STANDARD.decode(data).ok().filter(|bytes| bytes.len() <= MAX_BYTES)?;
        let is = |row: &&(&str, &[u8], &[u8])| {
            bytes.starts_with(row.1) && bytes.get(8..).is_some_and(|rest| rest.starts_with(row.2))
        };
        let media_type = TYPES.iter().find(is)?.0;
        Some(Self { media_type, bytes })
    }

    /// `image/png` and so on, told from the bytes.
    pub fn media_type(&self) -> &'static str {
        self.media_type
    }

    /// The picture's file.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }
}

impl fmt::Debug for Thumbnail {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        write!(f, "Thumbnail({}, {} bytes)", self.media_type, self.bytes.len())
    }
}

impl Serialize for Thumbnail {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&format_args!(
            "data:{};base64,{}",
            self.media_type,
            STANDARD.encode(&self.bytes)
        ))
    }
}

impl<'de> Deserialize<'de> for Thumbnail {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let url = String::deserialize(deserializer)?;
        Self::parse(&url).ok_or_else(|| D::Error::custom("not a data URL of a small picture"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn url(kind: &str, bytes: &[u8]) -> String {
        format!("data:image/{kind};base64,{}", STANDARD.encode(bytes))
    }

    #[test]
    fn pictures_are_known_by_their_bytes() {
        let png = b"\x89PNG\r\n\x1a\nrest".as_slice();
        let seen = Thumbnail::parse(&url("jpeg", png)).unwrap();
        assert_eq!((seen.media_type(), seen.bytes()), ("image/png", png));
        let json = serde_json::to_value(&seen).unwrap();
        assert_eq!(json, url("png", png));
        assert_eq!(serde_json::from_value::<Thumbnail>(json).unwrap(), seen);
        let webp = Thumbnail::parse(&url("webp", b"RIFF\0\0\0\0WEBPVP8 ")).unwrap();
        assert_eq!(webp.media_type(), "image/webp");
        let mut large = png.to_vec();
        large.resize(MAX_BYTES, 0);
        assert!(Thumbnail::parse(&url("png", &large)).is_some());
        large.push(0);
        for (name, bad) in [
            ("a page", url("png", b"<html><script>")),
            ("a vector picture", url("svg+xml", b"<svg onload='x'>")),
            ("another RIFF", url("webp", b"RIFF\0\0\0\0WAVEfmt ")),
            ("too large", url("png", &large)),
            ("an address", "https://example.org/x.png".to_owned()),
            ("no base64", "data:image/png,\u{89}PNG".to_owned()),
            ("damaged base64", "data:image/png;base64,iVBORw0KGgo*".to_owned()),
            ("nothing", "data:image/png;base64,".to_owned()),
        ] {
            assert!(Thumbnail::parse(&bad).is_none(), "{name}");
        }
    }
}
