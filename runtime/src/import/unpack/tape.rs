//! tar: plain, gzipped, in zstd.

use std::fs::File;
use std::io::{BufReader, Read};

use flate2::bufread::MultiGzDecoder;
use tar::EntryType;

use super::entry::Writer;
use super::error::UnpackError;
use super::reader::{Counted, Tally};
use super::zstd::Frames;

/// What describes one entry: its header, long names, extended attributes. tar keeps all of it in memory.
const MAX_DESCRIPTION: u64 = 256 << 10;
/// Bytes after an archive's end that are read for the sake of a checksum. Packers fill up to 10 KB, or as they are told.
const MAX_TAIL: u64 = 16 << 20;

pub(super) fn unpack(file: File, writer: &mut Writer<'_>) -> Result<(), UnpackError> {
    let packed = Tally::new();
    read(Counted::new(BufReader::new(file), packed.clone()), &packed, writer)
}

pub(super) fn unpack_gzipped(file: File, writer: &mut Writer<'_>) -> Result<(), UnpackError> {
    let packed = Tally::new();
    let inflated = MultiGzDecoder::new(BufReader::new(Counted::new(file, packed.clone())));
    read(inflated, &packed, writer)
}

pub(super) fn unpack_zstd(file: File, writer: &mut Writer<'_>) -> Result<(), UnpackError> {
    let packed = Tally::new();
    let inflated = Frames::new(BufReader::new(Counted::new(file, packed.clone())));
    read(inflated, &packed, writer)
}

fn read(stream: impl Read, packed: &Tally, writer: &mut Writer<'_>) -> Result<(), UnpackError> {
    let damaged = |source| UnpackError::Damaged { source };
    let budget = Tally::new();
    let mut archive = tar::Archive::new(Counted::new(stream, budget.clone()));
    let mut entries = archive.entries().map_err(damaged)?;
    loop {
        budget.allow(MAX_DESCRIPTION);
        let Some(entry) = entries.next() else { break };
        let mut entry = entry.map_err(damaged)?;
        budget.allow(u64::MAX);
        writer.count()?;
        let name = entry.path_bytes().into_owned();
        let not_a_file = |what| {
            Err(UnpackError::NotAFile {
                name: String::from_utf8_lossy(&name).chars().take(200).collect(),
                what,
            })
        };
        match entry.header().entry_type() {
            EntryType::Regular | EntryType::Continuous => {
                let size = entry.size();
                // Read to its end, so that the next description begins where the budget begins.
                writer.file(&name, size, &mut entry, || packed.read())?;
            }
            EntryType::Directory => drain(&mut entry)?,
            // Comments for all entries; they change nothing that is used here.
            EntryType::XGlobalHeader if entry.size() <= MAX_DESCRIPTION => drain(&mut entry)?,
            EntryType::Symlink => return not_a_file("a symbolic link"),
            EntryType::Link => return not_a_file("a hard link"),
            EntryType::Char | EntryType::Block | EntryType::Fifo => return not_a_file("a device"),
            _ => return not_a_file("of a kind that is not read"),
        }
    }
    // What packed it keeps its checksum behind the tar's own end.
    budget.allow(u64::MAX);
    std::io::copy(&mut archive.into_inner().take(MAX_TAIL), &mut std::io::sink()).map_err(damaged)?;
    Ok(())
}

/// Of a directory nothing is wanted; one that has content is not honest.
fn drain(entry: &mut impl Read) -> Result<(), UnpackError> {
    let read = std::io::copy(&mut entry.take(MAX_DESCRIPTION + 1), &mut std::io::sink());
    match read.map_err(|source| UnpackError::Damaged { source })? {
        n if n > MAX_DESCRIPTION => {
            Err(UnpackError::Damaged { source: std::io::Error::other("a directory with content") })
        }
        _ => Ok(()),
    }
}
