//! Archives made here, honest and not.

use std::io::Write;
use std::path::Path;

use flate2::Compression;
use flate2::write::{DeflateEncoder, GzEncoder};
use tar::{EntryType, Header};
use tempfile::TempDir;

use super::*;

/// A tar entry as raw as it gets: `tar::Builder` would refuse most of these names.
fn tar_entry(name: &str, kind: EntryType, content: &[u8]) -> Vec<u8> {
    let mut header = Header::new_ustar();
    header.as_old_mut().name[..name.len()].copy_from_slice(name.as_bytes());
    header.set_entry_type(kind);
    header.set_size(content.len() as u64);
    header.set_mode(0o644);
    header.set_link_name("/etc/passwd").unwrap();
    header.set_cksum();
    let mut bytes = [header.as_bytes().as_slice(), content].concat();
    bytes.resize(bytes.len().next_multiple_of(512), 0);
    bytes
}

fn tar_of(entries: &[(&str, &[u8])]) -> Vec<u8> {
    let mut bytes: Vec<u8> =
        entries.iter().flat_map(|(name, content)| tar_entry(name, EntryType::Regular, content)).collect();
    bytes.resize(bytes.len() + 1024, 0);
    bytes
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn zstd_of(bytes: &[u8]) -> Vec<u8> {
    ruzstd::encoding::compress_to_vec(bytes, ruzstd::encoding::CompressionLevel::Fastest)
}

/// `m.json` with `{}` in it, packed by `tar` and `zstd -19` (zstd 1.5.4, which adds a checksum).
const TAR_ZST: &str = "28b52ffd046855020062830b11b0eba76798d0ea3081842236f0601439057ece6c57195119b69a7df40b79debfaa1023e448875b95dc69d701280a20909b07fa859fe7288c0168ff7ece0773824101a613dd02682c4cce";

/// One entry of a zip: name, Unix mode, content, whether it is deflated, and what is added to its checksum.
type ZipEntry<'a> = (&'a str, u32, &'a [u8], bool, u32);

/// A zip by the format's own tables (APPNOTE 4.3.7, 4.3.12, 4.3.16).
fn zip_of(entries: &[ZipEntry<'_>]) -> Vec<u8> {
    let (mut bytes, mut directory) = (Vec::new(), Vec::new());
    for (name, mode, content, deflated, spoil) in entries {
        let mut crc = flate2::Crc::new();
        crc.update(content);
        let packed = if *deflated {
            let mut encoder = DeflateEncoder::new(Vec::new(), Compression::best());
            encoder.write_all(content).unwrap();
            encoder.finish().unwrap()
        } else {
            content.to_vec()
        };
        let mut common = Vec::new();
        for short in [20_u16, 0, if *deflated { 8 } else { 0 }, 0, 0x21] {
            common.extend(short.to_le_bytes());
        }
        for long in [crc.sum().wrapping_add(*spoil), packed.len() as u32, content.len() as u32] {
            common.extend(long.to_le_bytes());
        }
        common.extend((name.len() as u16).to_le_bytes());
        common.extend(0_u16.to_le_bytes());
        directory.extend(*b"PK\x01\x02");
        directory.extend([20, 3]);
        directory.extend(&common);
        directory.extend([0; 6]);
        directory.extend((mode << 16).to_le_bytes());
        directory.extend((bytes.len() as u32).to_le_bytes());
        directory.extend(name.as_bytes());
        bytes.extend(*b"PK\x03\x04");
        bytes.extend(&common);
        bytes.extend(name.as_bytes());
        bytes.extend(&packed);
    }
    let start = bytes.len() as u32;
    bytes.extend(&directory);
    bytes.extend(*b"PK\x05\x06\0\0\0\0");
    bytes.extend([(entries.len() as u16).to_le_bytes(), (entries.len() as u16).to_le_bytes()].concat());
    bytes.extend([(directory.len() as u32).to_le_bytes(), start.to_le_bytes()].concat());
    bytes.extend([0, 0]);
    bytes
}

const FILE: u32 = 0o100_644;

/// Names and contents of what is unpacked of these bytes.
fn unpacked(bytes: &[u8], bounds: &UnpackBounds) -> Result<Vec<(String, Vec<u8>)>, UnpackError> {
    let work = TempDir::new().unwrap();
    let (archive, into) = (work.path().join("archive"), work.path().join("into"));
    std::fs::write(&archive, bytes).unwrap();
    let kind = kind_of(bytes).expect("an archive");
    let result = unpack(&archive, kind, &into, bounds, &|_| {});
    assert_only_below(work.path(), &["archive", "into"]);
    let read = |file: Unpacked| (file.name, std::fs::read(file.path).unwrap());
    result.map(|files| files.into_iter().map(read).collect())
}

fn assert_only_below(directory: &Path, names: &[&str]) {
    let mut found: Vec<_> = std::fs::read_dir(directory)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    found.sort();
    assert_eq!(found, names);
}

fn bounds() -> UnpackBounds {
    UnpackBounds::new(1 << 20)
}

#[test]
fn weights_and_their_side_files_are_unpacked_and_nothing_else() {
    let entries: [(&str, &[u8]); 6] = [
        ("model/./unet/d.safetensors", b"weights"),
        ("model/unet/config.json", b"{}"),
        ("model/run.py", b"import os"),
        ("model/.DS_Store", b"x"),
        ("__MACOSX/model/._d.safetensors", b"x"),
        ("model/empty.txt", b""),
    ];
    let want: [(&str, &[u8]); 3] =
        [("unet/d.safetensors", b"weights"), ("unet/config.json", b"{}"), ("empty.txt", b"")];
    let want: Vec<_> = want.iter().map(|(name, bytes)| ((*name).to_owned(), bytes.to_vec())).collect();
    let tar = [tar_entry("model/", EntryType::Directory, b""), tar_of(&entries)].concat();
    let zip = |deflated| {
        let entries: Vec<_> =
            entries.iter().map(|(name, bytes)| (*name, FILE, *bytes, deflated, 0)).collect();
        zip_of(&entries)
    };
    for (case, bytes) in [
        ("tar", tar.clone()),
        ("tar.gz", gzip(&tar)),
        ("tar.gz in two members", [gzip(&tar[..700]), gzip(&tar[700..])].concat()),
        ("tar.zst", zstd_of(&tar)),
        ("tar.zst in two frames, one to skip between", {
            let skipped = [0x50, 0x2a, 0x4d, 0x18, 3, 0, 0, 0, 1, 2, 3];
            [zstd_of(&tar[..700]), skipped.to_vec(), zstd_of(&tar[700..])].concat()
        }),
        ("zip, stored", zip(false)),
        ("zip, deflated", zip(true)),
    ] {
        assert_eq!(unpacked(&bytes, &bounds()).unwrap(), want, "{case}");
    }
}

#[test]
fn long_names_of_both_tar_dialects_are_read() {
    let name = format!("{}/d.safetensors", "n".repeat(150));
    let gnu =
        [tar_entry("././@LongLink", EntryType::GNULongName, name.as_bytes()), tar_of(&[("short", b"w")])];
    let pax = format!("{} path={name}\n", 9 + name.len() + 1);
    let pax = [tar_entry("pax", EntryType::XHeader, pax.as_bytes()), tar_of(&[("short", b"w")])];
    for (case, parts) in [("GNU", gnu), ("pax", pax)] {
        let files = unpacked(&parts.concat(), &bounds()).unwrap_or_else(|error| panic!("{case}: {error:?}"));
        assert_eq!(files, [("d.safetensors".to_owned(), b"w".to_vec())], "{case}");
    }
}

#[test]
fn a_component_is_not_taken_for_the_folder_around_all() {
    let files = unpacked(&tar_of(&[("unet/d.safetensors", b"w"), ("unet/config.json", b"{}")]), &bounds());
    assert_eq!(files.unwrap()[0].0, "unet/d.safetensors");
}

#[test]
fn names_that_lead_elsewhere_end_it() {
    let long = "n".repeat(220);
    for name in [
        "../m.safetensors",
        "a/../../m.safetensors",
        "/etc/m.safetensors",
        "C:\\m.safetensors",
        "a\\..\\m.safetensors",
        "a\u{7}.safetensors",
        "a/b/c/d/e/f/g/m.safetensors",
        long.as_str(),
    ] {
        let zip = zip_of(&[("good.safetensors", FILE, b"w", false, 0), (name, FILE, b"x", false, 0)]);
        let error = unpacked(&zip, &bounds()).unwrap_err();
        assert!(matches!(error, UnpackError::BadName { .. }), "zip {name:?}: {error:?}");
        if name.len() <= 100 {
            let tar = tar_of(&[("good.safetensors", b"w"), (name, b"x")]);
            let error = unpacked(&tar, &bounds()).unwrap_err();
            assert!(matches!(error, UnpackError::BadName { .. }), "tar {name:?}: {error:?}");
            assert!(!error.retriable());
        }
    }
}

#[test]
fn links_devices_and_doubles_end_it() {
    use EntryType::*;
    for kind in [Symlink, Link, Char, Block, Fifo, GNUSparse] {
        let tar = [tar_entry("m.safetensors", kind, b""), tar_of(&[("a.json", b"{}")])].concat();
        let error = unpacked(&tar, &bounds()).unwrap_err();
        assert!(!error.retriable(), "{kind:?}: {error:?}");
        assert!(matches!(error.reason(), "ArchiveRefused" | "ArchiveDamaged"), "{kind:?}: {error:?}");
    }
    for (mode, what) in [(0o120_777, "a symbolic link"), (0o060_644, "a device"), (0o010_644, "a device")] {
        let error = unpacked(&zip_of(&[("m.safetensors", mode, b"/etc", false, 0)]), &bounds()).unwrap_err();
        assert!(matches!(&error, UnpackError::NotAFile { what: got, .. } if *got == what), "{error:?}");
    }
    let twice = tar_of(&[("a/m.safetensors", b"1"), ("a//m.safetensors", b"2")]);
    assert!(matches!(unpacked(&twice, &bounds()).unwrap_err(), UnpackError::Twice { .. }));
}

#[test]
fn bombs_and_masses_are_refused() {
    let blank = vec![0; 900 << 10];
    let small = UnpackBounds { free_bytes: 64 << 10, ..bounds() };
    let gz = gzip(&tar_of(&[("m.safetensors", &blank)]));
    let zip = zip_of(&[("m.safetensors", FILE, &blank, true, 0)]);
    let zst = zstd_of(&tar_of(&[("m.safetensors", &blank)]));
    for (case, bytes) in [("tar.gz", &gz), ("tar.zst", &zst), ("zip", &zip)] {
        assert_eq!(unpacked(bytes, &small).unwrap_err().reason(), "ArchiveBomb", "{case}");
        assert!(unpacked(bytes, &bounds()).is_ok(), "{case}: below the bytes that are free");
        let tight = UnpackBounds::new(100_000);
        assert_eq!(unpacked(bytes, &tight).unwrap_err().reason(), "ArchiveTooLarge", "{case}");
    }
    let left_out = gzip(&tar_of(&[("m.safetensors", b"w"), ("blank.dat", &blank)]));
    assert_eq!(unpacked(&left_out, &small).unwrap_err().reason(), "ArchiveBomb", "also in what is left out");
    let names: Vec<_> = (0..70).map(|n| format!("{n}.json")).collect();
    let many: Vec<_> = names.iter().map(|name| (name.as_str(), &b"{}"[..])).collect();
    assert!(matches!(unpacked(&tar_of(&many), &bounds()).unwrap_err(), UnpackError::TooManyFiles { .. }));
    let few = UnpackBounds { max_entries: 50, ..bounds() };
    let zipped: Vec<_> = names.iter().map(|name| (name.as_str(), FILE, &b"{}"[..], false, 0)).collect();
    for bytes in [tar_of(&many), zip_of(&zipped)] {
        assert!(matches!(unpacked(&bytes, &few).unwrap_err(), UnpackError::TooManyEntries { .. }));
    }
}

#[test]
fn descriptions_without_end_take_no_memory() {
    let name = vec![b'n'; 4 << 20];
    let gnu = [tar_entry("././@LongLink", EntryType::GNULongName, &name), tar_of(&[("m.safetensors", b"w")])];
    let pax = [tar_entry("pax", EntryType::XHeader, &name), tar_of(&[("m.safetensors", b"w")])];
    for parts in [gnu, pax] {
        for packed in [gzip(&parts.concat()), zstd_of(&parts.concat())] {
            let error = unpacked(&packed, &bounds()).unwrap_err();
            assert!(matches!(error, UnpackError::Damaged { .. }), "{error:?}");
        }
    }
}

#[test]
fn damage_is_found_and_nothing_panics() {
    let bad = zip_of(&[("m.safetensors", FILE, b"weights", true, 1)]);
    assert!(matches!(unpacked(&bad, &bounds()).unwrap_err(), UnpackError::Checksum { .. }));
    assert_eq!(unpacked(&tar_of(&[("run.py", b"x")]), &bounds()).unwrap_err().reason(), "NoFiles");
    let tar = tar_of(&[("m.safetensors", &[7; 3000]), ("c.json", b"{}")]);
    let zip = zip_of(&[("m.safetensors", FILE, &[7; 3000], true, 0), ("c.json", FILE, b"{}", false, 0)]);
    for whole in [gzip(&tar), zstd_of(&tar), zip, tar] {
        for at in (0..whole.len()).step_by(whole.len() / 97 + 1) {
            let mut spoiled = whole.clone();
            spoiled[at] ^= 0x5a;
            for bytes in [&spoiled, &whole[..at].to_vec()] {
                if kind_of(bytes).is_some() {
                    // Either it is refused, or the spoiled byte was one that means nothing.
                    let _ = unpacked(bytes, &bounds());
                }
            }
        }
    }
}

#[test]
fn what_is_packed_must_have_its_checksum() {
    let whole = hex::decode(TAR_ZST).unwrap();
    assert_eq!(unpacked(&whole, &bounds()).unwrap(), [("m.json".to_owned(), b"{}".to_vec())]);
    let tar = tar_of(&[("m.json", b"{}")]);
    let (mut gz, mut zst) = (gzip(&tar), whole);
    // Of gzip's last eight bytes the first four are the checksum (RFC 1952, 2.3.1).
    *gz.iter_mut().rev().nth(7).unwrap() ^= 1;
    *zst.last_mut().unwrap() ^= 1;
    for spoiled in [gz, zst] {
        let error = unpacked(&spoiled, &bounds()).unwrap_err();
        assert!(matches!(error, UnpackError::Damaged { .. }), "{error:?}");
    }
}

#[test]
fn a_checkpoint_of_pytorch_is_no_archive_of_files() {
    let work = TempDir::new().unwrap();
    let path = work.path().join("m");
    for (name, want) in [("archive/data.pkl", true), ("data.pkl", true), ("a/data.pkl.txt", false)] {
        std::fs::write(&path, zip_of(&[(name, FILE, b"x", false, 0)])).unwrap();
        assert_eq!(is_torch(&path).unwrap(), want, "{name}");
    }
    std::fs::write(&path, b"PK\x03\x04 and no directory").unwrap();
    assert!(!is_torch(&path).unwrap_err().retriable());
}
