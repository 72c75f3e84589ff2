//! Names and bytes of entries, judged and written.

use std::collections::HashSet;
use std::fs::{File, OpenOptions};
use std::io::{Read, Write};
use std::path::{Path, PathBuf};

use super::bounds::UnpackBounds;
use super::error::UnpackError;
use crate::fetch::free_bytes;
use crate::import::check::{Role, role_of};

/// What a Model's status takes as a file's name.
const MAX_NAME: usize = 200;
/// A diffusers folder in a folder is three deep.
const MAX_DEPTH: usize = 6;
/// Bytes read at a time.
const BLOCK: usize = 256 << 10;

/// A file that was unpacked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::import) struct Unpacked {
    /// With slashes; without the folder that everything in the archive is in, if there is one.
    pub name: String,
    pub path: PathBuf,
}

/// Writes the entries of one archive.
pub(super) struct Writer<'a> {
    into: &'a Path,
    bounds: &'a UnpackBounds,
    /// Is told how many packed bytes were read.
    observer: &'a dyn Fn(u64),
    entries: usize,
    /// Unpacked bytes of all entries so far.
    total: u64,
    names: HashSet<String>,
    kept: Vec<Unpacked>,
}

impl<'a> Writer<'a> {
    pub(super) fn new(
        into: &'a Path,
        bounds: &'a UnpackBounds,
        observer: &'a dyn Fn(u64),
    ) -> Result<Self, UnpackError> {
        let unusable = |source| UnpackError::Disk { path: into.to_owned(), source };
        // What an earlier attempt left is of another run.
        match std::fs::remove_dir_all(into) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(unusable(error)),
            _ => std::fs::create_dir_all(into).map_err(unusable)?,
        }
        Ok(Self { into, bounds, observer, entries: 0, total: 0, names: HashSet::new(), kept: Vec::new() })
    }

    pub(super) fn max_entries(&self) -> usize {
        self.bounds.max_entries
    }

    /// Counts an entry of any kind.
    pub(super) fn count(&mut self) -> Result<(), UnpackError> {
        self.entries += 1;
        match self.entries > self.bounds.max_entries {
            true => Err(UnpackError::TooManyEntries { limit: self.bounds.max_entries }),
            false => Ok(()),
        }
    }

    /// A plain file: written if it is one to keep, read over if not. `size` is what the archive says; `packed`
    /// tells how many packed bytes were read so far.
    pub(super) fn file(
        &mut self,
        raw_name: &[u8],
        size: u64,
        content: &mut impl Read,
        packed: impl Fn() -> u64,
    ) -> Result<(), UnpackError> {
        let name = checked_name(raw_name)?;
        if !self.names.insert(name.clone()) {
            return Err(UnpackError::Twice { name });
        }
        if size > self.bounds.max_bytes.saturating_sub(self.total) {
            return Err(UnpackError::TooLarge { limit: self.bounds.max_bytes });
        }
        let file = match role_of(&name) {
            Role::Other => None,
            Role::Weights | Role::Side => Some(self.create(&name, size)?),
        };
        self.pour(file, content, packed)
    }

    fn create(&mut self, name: &str, size: u64) -> Result<(File, PathBuf), UnpackError> {
        if self.kept.len() == self.bounds.max_files {
            return Err(UnpackError::TooManyFiles { limit: self.bounds.max_files });
        }
        let unusable = |source| UnpackError::Disk { path: self.into.to_owned(), source };
        let free = free_bytes(self.into).map_err(unusable)?;
        if size > free {
            return Err(UnpackError::NoRoom { name: name.to_owned(), need: size, free });
        }
        // A number as name: what is in the archive stays out of paths.
        let path = self.into.join(self.kept.len().to_string());
        let created = OpenOptions::new().write(true).create_new(true).open(&path);
        let file = created.map_err(|source| UnpackError::Disk { path: path.clone(), source })?;
        self.kept.push(Unpacked { name: name.to_owned(), path: path.clone() });
        Ok((file, path))
    }

    fn pour(
        &mut self,
        mut file: Option<(File, PathBuf)>,
        content: &mut impl Read,
        packed: impl Fn() -> u64,
    ) -> Result<(), UnpackError> {
        let UnpackBounds { max_bytes, max_ratio, free_bytes, .. } = *self.bounds;
        let mut block = vec![0; BLOCK];
        loop {
            let n = match content.read(&mut block) {
                Ok(0) => return Ok(()),
                Ok(n) => n,
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => continue,
                Err(source) => return Err(UnpackError::Damaged { source }),
            };
            self.total += n as u64;
            (self.observer)(packed());
            if self.total > max_bytes {
                return Err(UnpackError::TooLarge { limit: max_bytes });
            }
            if self.total > free_bytes && self.total / max_ratio.max(1) > packed() {
                return Err(UnpackError::Bomb { limit: max_ratio });
            }
            if let Some((file, path)) = &mut file {
                let written = file.write_all(&block[..n]);
                written.map_err(|source| UnpackError::Disk { path: path.clone(), source })?;
            }
        }
    }

    /// What was kept.
    pub(super) fn finish(self) -> Result<Vec<Unpacked>, UnpackError> {
        let mut kept = self.kept;
        if kept.is_empty() {
            return Err(UnpackError::Nothing);
        }
        while let Some(top) = common_folder(&kept) {
            for file in &mut kept {
                file.name.drain(..top);
            }
        }
        Ok(kept)
    }
}

/// Length of the folder, with its slash, that every file is in. A folder of one component is none: its name says
/// what it is.
fn common_folder(files: &[Unpacked]) -> Option<usize> {
    let top = files.first()?.name.split_once('/')?.0;
    let inside = |file: &Unpacked| file.name.split_once('/').is_some_and(|(first, _)| first == top);
    (files.iter().all(inside) && !crate::import::folder::is_component(top)).then_some(top.len() + 1)
}

/// The name of an entry as a relative path of plain parts.
pub(in crate::import) fn checked_name(raw: &[u8]) -> Result<String, UnpackError> {
    let shown = || String::from_utf8_lossy(&raw[..raw.len().min(MAX_NAME)]).into_owned();
    let bad = |what| UnpackError::BadName { name: shown(), what };
    let name = std::str::from_utf8(raw).map_err(|_| bad("is not UTF-8"))?;
    if name.len() > MAX_NAME {
        return Err(bad("is longer than 200 bytes"));
    }
    if name.starts_with('/') {
        return Err(bad("begins at the root"));
    }
    if name.contains(['\\', ':']) || name.chars().any(char::is_control) {
        return Err(bad("has characters that are not for names"));
    }
    let parts: Vec<&str> = name.split('/').filter(|part| !matches!(*part, "" | ".")).collect();
    if parts.contains(&"..") {
        return Err(bad("leads out of the archive's folder"));
    }
    match parts.len() {
        0 => Err(bad("is empty")),
        depth if depth > MAX_DEPTH => Err(bad("is too deep")),
        _ => Ok(parts.join("/")),
    }
}
