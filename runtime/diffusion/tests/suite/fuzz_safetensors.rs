//! Mutations of a real header, always the same ones: whatever comes in, nothing panics, and what is
//! accepted tiles the file.
//!
//! `one_case` is the body of a `cargo fuzz` target; `MUTATIONS` runs it in every test run.

use std::fs;

use easel_diffusion::inspect_header;
use easel_diffusion::random::Mt19937;
use easel_diffusion::weights::Header;

use crate::fuzz_pickle::assert_inside;
use crate::golden::path;

const MUTATIONS: u32 = 8_000;

fn one_case(bytes: &[u8], file_len: u64) -> bool {
    let header = match Header::parse(bytes, file_len) {
        Ok(header) => header,
        Err(error) => {
            assert!(!error.reason().is_empty() && error.to_string().len() < 10_000);
            return false;
        }
    };
    assert_inside(&header);
    let covered: u64 = header.tensors.values().map(|t| t.end - t.begin).sum();
    let data_start = 8 + u64::from_le_bytes(*bytes.first_chunk().unwrap());
    assert_eq!(data_start + covered, file_len);
    inspect_header(bytes, file_len).unwrap();
    true
}

/// What numbers and words of a header may be replaced with.
const TOKENS: &[&str] = &[
    "0",
    "1",
    "-1",
    "18446744073709551615",
    "18446744073709551616",
    "4294967296",
    "1e9",
    "1.5",
    "null",
    "[]",
    "{}",
    "\"F32\"",
    "\"F64\"",
    "\"BOOL\"",
    "\"F4\"",
    "\"X\"",
    "[0,0]",
    "[1,0]",
    "\"__metadata__\"",
    "true",
    "\"\\u0000\"",
];

/// A small header with tensors of several types, and the length of its file.
fn small() -> (String, u64) {
    let json = r#"{"__metadata__":{"modelspec.title":"t","a":"b"},"unet.x":{"dtype":"F16","shape":[2,3],"data_offsets":[0,12]},"b":{"dtype":"F32","shape":[],"data_offsets":[12,16]},"c":{"dtype":"U8","shape":[0,7],"data_offsets":[16,16]},"d":{"dtype":"F64","shape":[1,2,1],"data_offsets":[16,32]}}"#;
    (json.to_owned(), 32)
}

fn file(json: &str) -> Vec<u8> {
    [&(json.len() as u64).to_le_bytes(), json.as_bytes()].concat()
}

#[test]
fn headers_with_other_tokens_are_sound_or_refused() {
    let mut rng = Mt19937::new(20_260_201);
    let (json, data) = small();
    assert!(one_case(&file(&json), 8 + json.len() as u64 + data));
    let mut accepted = 0;
    for _ in 0..MUTATIONS {
        let mut text = json.clone();
        for _ in 0..=rng.next_u32() % 3 {
            // A run of digits, or a quoted word, gives way to a token.
            let marks: Vec<usize> =
                text.match_indices(|c: char| c.is_ascii_digit() || c == '"').map(|m| m.0).collect();
            let Some(at) = marks.get(rng.next_u32() as usize % marks.len().max(1)).copied() else { break };
            let rest = &text[at + 1..];
            let end = if text.as_bytes()[at] == b'"' {
                rest.find('"').map_or(text.len(), |n| at + n + 2)
            } else {
                rest.find(|c: char| !c.is_ascii_digit()).map_or(text.len(), |n| at + 1 + n)
            };
            text.replace_range(at..end, TOKENS[rng.next_u32() as usize % TOKENS.len()]);
        }
        let lie = u64::from(rng.next_u32().is_multiple_of(8));
        accepted += u32::from(one_case(&file(&text), 8 + text.len() as u64 + data + lie));
    }
    assert!((1..MUTATIONS).contains(&accepted), "{accepted} accepted");
}

#[test]
fn headers_with_other_bytes_are_sound_or_refused() {
    let mut rng = Mt19937::new(20_260_202);
    let (json, data) = small();
    for _ in 0..MUTATIONS {
        let mut bytes = file(&json);
        for _ in 0..=rng.next_u32() % 4 {
            let at = rng.next_u32() as usize % bytes.len();
            match rng.next_u32() % 3 {
                0 => bytes[at] ^= 1 << (rng.next_u32() % 8),
                1 => drop(bytes.remove(at)),
                _ => bytes.insert(at, (rng.next_u32() >> 24) as u8),
            }
        }
        let len = (bytes.len() as u64 + data).saturating_sub(u64::from(rng.next_u32() % 3));
        one_case(&bytes, len);
    }
}

#[test]
fn a_real_header_with_other_bytes_is_sound_or_refused() {
    let mut rng = Mt19937::new(20_260_203);
    let whole = fs::read(path("tiny-sd1.safetensors")).unwrap();
    let end = 8 + u64::from_le_bytes(*whole.first_chunk().unwrap()) as usize;
    for _ in 0..200 {
        let mut bytes = whole[..end].to_vec();
        for _ in 0..=rng.next_u32() % 4 {
            let at = rng.next_u32() as usize % bytes.len();
            bytes[at] = (rng.next_u32() >> 24) as u8;
        }
        one_case(&bytes, whole.len() as u64);
    }
}
