//! Files that lie, at the level of whole files; single lies of the header are in `weights/header.rs`.

use std::fs;
use std::io::Write;

use easel_diffusion::weights::Header;
use easel_diffusion::{LoadOptions, Pipeline, inspect, inspect_header};
use proptest::prelude::*;

use crate::golden::path;

fn file(bytes: &[u8]) -> tempfile::NamedTempFile {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(bytes).unwrap();
    file
}

#[test]
fn hostile_files_are_refused_with_their_reason() {
    let good = fs::read(path("tiny-sd1.safetensors")).unwrap();
    let mut long_header = good.clone();
    long_header[..8].copy_from_slice(&(2_u64 << 30).to_le_bytes());
    let mut zero_header = good.clone();
    zero_header[..8].copy_from_slice(&0_u64.to_le_bytes());
    let mut grown = good.clone();
    grown.extend([0; 10]);
    let cases: &[(&str, &[u8], &str)] = &[
        ("empty", b"", "TruncatedFile"),
        ("seven bytes", b"1234567", "TruncatedFile"),
        ("cut in the header", &good[..1000], "TruncatedFile"),
        ("cut in the data", &good[..good.len() - 1], "TruncatedFile"),
        ("bytes after the end", &grown, "InvalidTensorOffsets"),
        ("header of 2 GB", &long_header, "HeaderTooLarge"),
        ("header of nothing", &zero_header, "InvalidHeader"),
        ("pickle that ends early", b"\x80\x02}q\x00(X\x05\x00\x00\x00model", "TruncatedFile"),
        ("pickle that runs something", b"\x80\x02cos\nsystem\nX\x02\0\0\0id\x85R.", "UnsafePickle"),
        ("zip that ends early", b"PK\x03\x04\x00\x00\x08\x08\x00\x00archive/data.pkl", "InvalidArchive"),
        ("web page", b"<!DOCTYPE html><title>Sign in</title>", "NotSafetensors"),
        ("LFS pointer", b"version https://git-lfs.github.com/spec/v1\noid sha256:00", "NotSafetensors"),
        ("random", &[0xa5; 64], "HeaderTooLarge"),
    ];
    for (name, bytes, want) in cases {
        let file = file(bytes);
        let seen = inspect(file.path()).map(|_| ()).map_err(|e| e.reason());
        assert_eq!(seen, Err(*want), "{name}: inspect");
        let loaded = Pipeline::load(file.path(), &LoadOptions::default());
        assert_eq!(loaded.map(|_| ()).map_err(|e| e.reason()), Err(*want), "{name}: load");
    }
}

#[test]
fn a_device_or_a_missing_file_is_an_error_and_no_hang() {
    for (at, want) in [("/dev/zero", "NotAFile"), ("/nonexistent/model", "FileUnreadable")] {
        let error = inspect(std::path::Path::new(at)).unwrap_err();
        assert_eq!(error.reason(), want, "{at}");
    }
}

/// The header of the tiny model, and the length of its file.
fn real_header() -> (Vec<u8>, u64) {
    let bytes = fs::read(path("tiny-sd1.safetensors")).unwrap();
    let end = 8 + u64::from_le_bytes(*bytes.first_chunk().unwrap()) as usize;
    (bytes[..end].to_vec(), bytes.len() as u64)
}

/// What a header that was accepted promises to all later code.
fn assert_sound(header: &Header, data_start: u64) {
    let mut at = data_start;
    let mut entries: Vec<_> = header.tensors.values().collect();
    entries.sort_by_key(|t| (t.begin, t.end));
    for t in entries {
        assert_eq!(t.begin, at);
        assert_eq!((t.end - t.begin) * 8, t.elements() * t.dtype.bits());
        at = t.end;
    }
    assert_eq!(at, header.file_len);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn no_bytes_panic_and_accepted_headers_are_sound(bytes in proptest::collection::vec(any::<u8>(), 0..200), len in 0_u64..400) {
        let _ = inspect_header(&bytes, len);
        if let Ok(header) = Header::parse(&bytes, len) {
            assert_sound(&header, 8 + u64::from_le_bytes(*bytes.first_chunk().unwrap()));
        }
    }

    #[test]
    fn small_json_headers_are_sound_or_refused(
        shape in proptest::collection::vec(0_u64..5, 0..4),
        offsets in proptest::collection::vec((0_u64..40, 0_u64..40), 1..4),
        dtype in prop_oneof![Just("F32"), Just("F16"), Just("F4"), Just("U8"), Just("X")],
        data in 0_u64..64,
    ) {
        let tensors: Vec<String> = offsets.iter().enumerate()
            .map(|(i, (a, b))| format!(r#""t{i}":{{"dtype":"{dtype}","shape":{shape:?},"data_offsets":[{a},{b}]}}"#))
            .collect();
        let json = format!("{{{}}}", tensors.join(","));
        let mut bytes = (json.len() as u64).to_le_bytes().to_vec();
        bytes.extend(json.as_bytes());
        let start = bytes.len() as u64;
        if let Ok(header) = Header::parse(&bytes, start + data) {
            assert_sound(&header, start);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn a_real_header_with_a_few_bytes_changed_is_sound_or_refused(
        changes in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
    ) {
        let (mut bytes, len) = real_header();
        for (index, value) in changes {
            let at = index.index(bytes.len());
            bytes[at] = value;
        }
        if let Ok(header) = Header::parse(&bytes, len) {
            assert_sound(&header, 8 + u64::from_le_bytes(*bytes.first_chunk().unwrap()));
            prop_assert!(inspect_header(&bytes, len).is_ok());
        }
    }
}
