//! zip. The crate finds the entries; what they hold is inflated and checked here.

use std::fs::File;
use std::io::{BufReader, Read};

use flate2::Crc;
use flate2::read::DeflateDecoder;
use zip::CompressionMethod;
use zip::read::{Config, ZipArchive};
use zip::unstable::read::ZipIterable;

use super::entry::Writer;
use super::error::UnpackError;
use super::reader::{Counted, Tally};

/// Longest directory that is read. It is kept in memory; that of a hundred files has ten kilobytes.
const MAX_DIRECTORY: u64 = 8 << 20;

type Archive<'a> = ZipArchive<BufReader<Counted<&'a File>>>;

/// The archive's directory, after a look at how long it says it is.
fn open(file: &File, max_entries: usize) -> Result<(Archive<'_>, Tally), UnpackError> {
    let failed = |source| UnpackError::Zip { source };
    let tally = Tally::new();
    let reader = || BufReader::new(Counted::new(file, tally.clone()));
    tally.allow(MAX_DIRECTORY);
    let entries = ZipIterable::try_new(reader(), Config::default()).map_err(failed)?.len();
    if entries > max_entries {
        return Err(UnpackError::TooManyEntries { limit: max_entries });
    }
    tally.allow(MAX_DIRECTORY);
    let archive = ZipArchive::new(reader()).map_err(failed)?;
    tally.allow(u64::MAX);
    Ok((archive, tally))
}

/// A checkpoint of PyTorch keeps its pickle as `<folder>/data.pkl`.
pub(super) fn is_torch(file: &File) -> Result<bool, UnpackError> {
    let (archive, _) = open(file, super::bounds::UnpackBounds::new(0).max_entries)?;
    Ok((0..archive.len()).any(|index| {
        let name = archive.name_for_index(index);
        matches!(name, Some(Ok(name)) if name == "data.pkl" || name.ends_with("/data.pkl"))
    }))
}

pub(super) fn unpack(file: &File, writer: &mut Writer<'_>) -> Result<(), UnpackError> {
    let (mut archive, tally) = open(file, writer.max_entries())?;
    for index in 0..archive.len() {
        writer.count()?;
        let mut entry = archive.by_index_raw(index).map_err(|source| UnpackError::Zip { source })?;
        let raw_name = entry.name_raw().to_vec();
        let name = || String::from_utf8_lossy(&raw_name).chars().take(200).collect::<String>();
        if entry.is_dir() {
            continue;
        }
        if let Some(what) = special(entry.unix_mode()) {
            return Err(UnpackError::NotAFile { name: name(), what });
        }
        if entry.encrypted() {
            return Err(UnpackError::Packing { name: name(), what: "encrypted" });
        }
        let (size, crc) = (entry.size(), entry.crc32());
        let method = entry.compression();
        let content: Box<dyn Read + '_> = match method {
            CompressionMethod::Stored => Box::new(&mut entry),
            CompressionMethod::DEFLATE => Box::new(DeflateDecoder::new(&mut entry)),
            _ => return Err(UnpackError::Packing { name: name(), what: "packed in another way" }),
        };
        // An honest entry ends where it says; one byte more shows one that does not.
        let mut content = Checked { inner: content.take(size.saturating_add(1)), crc: Crc::new(), len: 0 };
        writer.file(&raw_name, size, &mut content, || tally.read())?;
        if content.len != size || content.crc.sum() != crc {
            return Err(UnpackError::Checksum { name: name() });
        }
    }
    Ok(())
}

/// What is not a plain file, by the mode that a Unix packer stores.
fn special(mode: Option<u32>) -> Option<&'static str> {
    match mode? & 0o170_000 {
        0 | 0o100_000 | 0o040_000 => None,
        0o120_000 => Some("a symbolic link"),
        _ => Some("a device"),
    }
}

/// Computes length and checksum of what is read through it.
struct Checked<R> {
    inner: R,
    crc: Crc,
    len: u64,
}

impl<R: Read> Read for Checked<R> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let n = self.inner.read(buffer)?;
        self.crc.update(&buffer[..n]);
        self.len += n as u64;
        Ok(n)
    }
}
