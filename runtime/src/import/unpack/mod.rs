//! Archives that users bring, unpacked into the working directory: tar, tar.gz, tar.zst and zip.
//!
//! Whatever is in an archive is hostile. Only plain files are written, only below one new directory, only under
//! names that were checked part by part; links, devices and names that lead elsewhere end the import. Entries,
//! bytes and the ratio of compression are bounded, and so is what is read to learn of an entry. What is neither
//! weights nor a side file of them is read over and left out.

mod bounds;
mod entry;
mod error;
mod reader;
mod tape;
mod zipped;
mod zstd;

use std::path::Path;

pub use bounds::UnpackBounds;
pub(super) use entry::{Unpacked, checked_name};
pub use error::UnpackError;

use std::fs::File;

/// What kind of archive these first bytes begin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ArchiveKind {
    Tar,
    GzippedTar,
    ZstdTar,
    Zip,
}

/// Bytes that [`kind_of`] wants to see; fewer only of a shorter file.
pub(super) const SNIFF_BYTES: usize = 512;
/// Where tar's signature is, in the ustar and the GNU form.
const TAR_MAGIC: std::ops::Range<usize> = 257..262;

/// `None`: no archive. A zip may also be a checkpoint of PyTorch: [`is_torch`] tells.
pub(super) fn kind_of(first: &[u8]) -> Option<ArchiveKind> {
    if first.starts_with(b"PK\x03\x04") {
        Some(ArchiveKind::Zip)
    } else if first.starts_with(&[0x1f, 0x8b, 8]) {
        Some(ArchiveKind::GzippedTar)
    } else if first.starts_with(zstd::MAGIC) {
        Some(ArchiveKind::ZstdTar)
    } else if first.get(TAR_MAGIC) == Some(b"ustar") {
        Some(ArchiveKind::Tar)
    } else {
        None
    }
}

/// Is this zip the form in which PyTorch writes checkpoints?
///
/// # Errors
/// It is no readable zip.
pub(super) fn is_torch(archive: &Path) -> Result<bool, UnpackError> {
    zipped::is_torch(&open(archive)?)
}

/// Unpacks `archive` into the directory `into`, which is made. Blocks. `observer` is told how many bytes of the archive
/// were read.
///
/// # Errors
/// See [`UnpackError`]; what was written until then stays in `into`.
pub(super) fn unpack(
    archive: &Path,
    kind: ArchiveKind,
    into: &Path,
    bounds: &UnpackBounds,
    observer: &dyn Fn(u64),
) -> Result<Vec<Unpacked>, UnpackError> {
    let file = open(archive)?;
    let mut writer = entry::Writer::new(into, bounds, observer)?;
    match kind {
        ArchiveKind::Tar => tape::unpack(file, &mut writer)?,
        ArchiveKind::GzippedTar => tape::unpack_gzipped(file, &mut writer)?,
        ArchiveKind::ZstdTar => tape::unpack_zstd(file, &mut writer)?,
        ArchiveKind::Zip => zipped::unpack(&file, &mut writer)?,
    }
    writer.finish()
}

fn open(archive: &Path) -> Result<File, UnpackError> {
    File::open(archive).map_err(|source| UnpackError::Disk { path: archive.to_owned(), source })
}

#[cfg(test)]
mod tests;
