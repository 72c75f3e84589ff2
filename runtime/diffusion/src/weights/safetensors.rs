//! Writing safetensors tensor by tensor: the header first, then bytes as they come.
//!
//! The file appears under its name only when it is whole and on the disk: it is written beside it, synced
//! and renamed. Facts: the safetensors format description.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs::{self, File};
use std::io::{self, BufWriter, ErrorKind, Write};
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use super::dtype::Dtype;
use super::header::MAX_HEADER_BYTES;

/// Larger writes go to the file directly; most tensors of a model are small biases.
const BUFFER: usize = 1 << 20;

/// A tensor of the file to be written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Outline {
    pub(crate) name: String,
    pub(crate) dtype: Dtype,
    pub(crate) shape: Vec<usize>,
}

impl Outline {
    /// Bytes of its data. The shape comes from a checked header, of the same or a wider type.
    pub(crate) fn bytes(&self) -> u64 {
        (self.shape.iter().map(|d| *d as u64).product::<u64>() * self.dtype.bits()).div_ceil(8)
    }
}

/// The order in which tensors are written: wide types first, so that each stands at a multiple of its
/// own size, then by name.
pub(crate) fn in_file_order(outlines: &mut [Outline]) {
    outlines.sort_by(|a, b| b.dtype.bits().cmp(&a.dtype.bits()).then_with(|| a.name.cmp(&b.name)));
}

/// Why a file was not written. What was there before under its name is untouched.
#[derive(Debug, thiserror::Error)]
pub enum WriteError {
    #[error("cannot create {path}")]
    Create { path: String, source: io::Error },
    #[error("cannot write {path}")]
    Write { path: String, source: io::Error },
    #[error(
        "the header of {path} would need {size} bytes, the limit is {limit}: the tensors' names are too long"
    )]
    Header { path: String, size: u64, limit: u64 },
    #[error("{path} was to hold {expected} bytes of tensors and was given {given}")]
    Length { path: String, expected: u64, given: u64 },
}

impl WriteError {
    /// Stable CamelCase word for statuses and metrics.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::Create { source, .. } | Self::Write { source, .. } => match source.kind() {
                ErrorKind::StorageFull | ErrorKind::QuotaExceeded => "DiskFull",
                _ => "FileUnwritable",
            },
            Self::Header { .. } => "HeaderTooLarge",
            Self::Length { .. } => "WriteIncomplete",
        }
    }

    /// Room and disks come back; the rest stays.
    pub fn retriable(&self) -> bool {
        match self {
            Self::Create { .. } | Self::Write { .. } => true,
            Self::Header { .. } | Self::Length { .. } => false,
        }
    }
}

/// A file that is being written.
#[derive(Debug)]
pub(crate) struct SafetensorsWriter {
    to: PathBuf,
    partial: PathBuf,
    out: BufWriter<File>,
    hash: Sha256,
    /// Bytes of tensors.
    expected: u64,
    given: u64,
    header_len: u64,
    finished: bool,
}

impl SafetensorsWriter {
    /// Writes the header of a file that will hold these tensors, in this order.
    ///
    /// # Errors
    /// The folder cannot be written to, or the header is longer than readers accept.
    pub(crate) fn create(
        to: &Path,
        outlines: &[Outline],
        metadata: &BTreeMap<String, String>,
    ) -> Result<Self, WriteError> {
        let header = header_of(outlines, metadata);
        let (size, limit) = (header.len() as u64, MAX_HEADER_BYTES);
        if size > limit {
            return Err(WriteError::Header { path: to.display().to_string(), size, limit });
        }
        let partial = partial_name(to);
        let file = File::create_new(&partial)
            .map_err(|source| WriteError::Create { path: partial.display().to_string(), source })?;
        let mut this = Self {
            to: to.to_owned(),
            partial,
            out: BufWriter::with_capacity(BUFFER, file),
            hash: Sha256::new(),
            expected: outlines.iter().map(Outline::bytes).sum(),
            given: 0,
            header_len: size + 8,
            finished: false,
        };
        this.put(&size.to_le_bytes())?;
        this.put(header.as_bytes())?;
        Ok(this)
    }

    /// The next bytes of the tensors.
    ///
    /// # Errors
    /// The disk is full or gone.
    pub(crate) fn write(&mut self, bytes: &[u8]) -> Result<(), WriteError> {
        self.given += bytes.len() as u64;
        self.put(bytes)
    }

    /// Puts the file under its name once it is whole and on the disk; its length and sha256.
    ///
    /// # Errors
    /// The disk is full or gone, or bytes are missing.
    pub(crate) fn finish(mut self) -> Result<(u64, String), WriteError> {
        if self.given != self.expected {
            let (path, expected, given) = (self.to.display().to_string(), self.expected, self.given);
            return Err(WriteError::Length { path, expected, given });
        }
        let result = self
            .out
            .flush()
            .and_then(|()| self.out.get_ref().sync_all())
            .and_then(|()| fs::rename(&self.partial, &self.to));
        result.map_err(|source| self.failed(source))?;
        self.finished = true;
        // Without it the new name may be gone after a power failure.
        let folder = self.to.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
        File::open(folder).and_then(|folder| folder.sync_all()).map_err(|source| self.failed(source))?;
        Ok((self.header_len + self.given, hex(&self.hash.clone().finalize())))
    }

    fn put(&mut self, bytes: &[u8]) -> Result<(), WriteError> {
        self.hash.update(bytes);
        self.out.write_all(bytes).map_err(|source| self.failed(source))
    }

    fn failed(&self, source: io::Error) -> WriteError {
        WriteError::Write { path: self.to.display().to_string(), source }
    }
}

impl Drop for SafetensorsWriter {
    fn drop(&mut self) {
        if !self.finished {
            // Best effort: a leftover is only in the way of the disk's room.
            let _ = fs::remove_file(&self.partial);
        }
    }
}

/// Beside the target, so that renaming stays on one file system; other processes have other numbers.
fn partial_name(to: &Path) -> PathBuf {
    let name = to.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
    to.with_file_name(format!(".{name}.{}.partial", std::process::id()))
}

fn header_of(outlines: &[Outline], metadata: &BTreeMap<String, String>) -> String {
    let mut entries = Vec::with_capacity(outlines.len() + 1);
    if !metadata.is_empty() {
        entries.push(format!("\"__metadata__\":{}", serde_json::json!(metadata)));
    }
    let mut at = 0;
    for outline in outlines {
        let end = at + outline.bytes();
        let (name, dtype, shape) = (serde_json::json!(outline.name), outline.dtype.name(), &outline.shape);
        entries.push(format!(
            "{name}:{{\"dtype\":\"{dtype}\",\"shape\":{},\"data_offsets\":[{at},{end}]}}",
            serde_json::json!(shape)
        ));
        at = end;
    }
    let mut header = format!("{{{}}}", entries.join(","));
    // Data begin at a multiple of eight bytes, for readers that map the file.
    header.extend(std::iter::repeat_n(' ', header.len().next_multiple_of(8) - header.len()));
    header
}

/// A hash as people write it.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        // Writing to a string cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

#[cfg(test)]
mod tests {
    use super::super::header::Header;
    use super::super::store::read_header;
    use super::*;

    fn outline(name: &str, dtype: Dtype, shape: &[usize]) -> Outline {
        Outline { name: name.into(), dtype, shape: shape.to_vec() }
    }

    #[test]
    fn what_is_written_is_read_and_its_hash_is_the_files() {
        let dir = tempfile::tempdir().unwrap();
        let to = dir.path().join("x.safetensors");
        let mut outlines = [
            outline("b\"\n", Dtype::F16, &[3]),
            outline("a", Dtype::F32, &[2, 1]),
            outline("", Dtype::Bool, &[0]),
        ];
        in_file_order(&mut outlines);
        assert_eq!(outlines.each_ref().map(|o| o.name.as_str()), ["a", "b\"\n", ""]);
        let metadata = BTreeMap::from([("note".to_owned(), "\"quoted\"".to_owned())]);
        let mut writer = SafetensorsWriter::create(&to, &outlines, &metadata).unwrap();
        writer.write(&[1; 8]).unwrap();
        assert!(!to.exists(), "a file that is not whole has no name");
        writer.write(&[2; 6]).unwrap();
        let (bytes, sha256) = writer.finish().unwrap();
        let written = fs::read(&to).unwrap();
        assert_eq!((written.len() as u64, hex(&Sha256::digest(&written))), (bytes, sha256));
        let Header { tensors, metadata: read, .. } = read_header(&to).unwrap().header;
        assert_eq!(read, metadata);
        assert_eq!((tensors["a"].begin % 8, tensors["b\"\n"].shape.as_slice()), (0, &[3][..]));
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1, "nothing is left beside it");
    }

    #[test]
    fn what_was_not_finished_leaves_nothing_and_spoils_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let to = dir.path().join("x.safetensors");
        fs::write(&to, b"before").unwrap();
        let create = || SafetensorsWriter::create(&to, &[outline("a", Dtype::F32, &[2])], &BTreeMap::new());
        let mut writer = create().unwrap();
        writer.write(&[0; 4]).unwrap();
        assert_eq!(writer.finish().unwrap_err().reason(), "WriteIncomplete");
        drop(create().unwrap());
        assert_eq!(fs::read(&to).unwrap(), b"before");
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
        let nowhere = SafetensorsWriter::create(&dir.path().join("no/x"), &[], &BTreeMap::new());
        assert_eq!(nowhere.unwrap_err().reason(), "FileUnwritable");
    }
}
