//! Files of an import that are in the object store already, as the next process finds them after a kill: what they are
//! called there, and an outline of each to look at. Only of files whose hash was known before they were fetched:
//! others may be others by now.
//!
//! A record appears whole or not at all, after its outlines. One that does not fit its file is none.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use easel_protocol::import::ImportedFile;
use serde::{Deserialize, Serialize};

use super::content::Piece;
use super::folder::outline;
use crate::fetch::Received;

/// A folder of 64 files takes 30 KB.
const MAX_RECORD: u64 = 1 << 20;

#[derive(Serialize, Deserialize)]
struct Record {
    /// Which file of which Model.
    identity: String,
    files: Vec<Entry>,
}

#[derive(Serialize, Deserialize)]
struct Entry {
    name: String,
    key: String,
    sha256: String,
    size_bytes: u64,
}

/// The records of one working directory; files are known by their place among those of the import.
#[derive(Clone, Copy)]
pub(super) struct Records<'a> {
    work_dir: &'a Path,
}

impl<'a> Records<'a> {
    pub(super) fn new(work_dir: &'a Path) -> Self {
        Self { work_dir }
    }

    /// Keeps the outline of the `part`-th piece of a file.
    pub(super) fn outline(&self, index: usize, part: usize, piece: &Piece) -> io::Result<()> {
        outline(&piece.name, &piece.path, &self.outline_path(index, part))
    }

    /// Records that all pieces of a file are stored.
    pub(super) fn write(&self, index: usize, identity: &str, files: &[ImportedFile]) -> io::Result<()> {
        let entry = |file: &ImportedFile| Entry {
            name: file.name.clone(),
            key: file.key.clone(),
            sha256: file.sha256.clone(),
            size_bytes: file.size_bytes,
        };
        let record = Record { identity: identity.to_owned(), files: files.iter().map(entry).collect() };
        let path = self.record_path(index);
        let new = path.with_extension("done.new");
        let mut file = File::create(&new)?;
        file.write_all(&serde_json::to_vec(&record)?)?;
        file.sync_all()?;
        fs::rename(&new, &path)
    }

    /// What an earlier process stored of a file: its pieces, as outlines, and what they are in the store.
    pub(super) fn read(
        &self,
        index: usize,
        identity: &str,
    ) -> io::Result<Option<Vec<(Piece, ImportedFile)>>> {
        let path = self.record_path(index);
        let bytes = match fs::metadata(&path) {
            Ok(data) if data.len() <= MAX_RECORD => fs::read(&path)?,
            Ok(_) => return Ok(None),
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        let record = serde_json::from_slice::<Record>(&bytes).ok();
        let Some(record) = record.filter(|record| record.identity == identity) else { return Ok(None) };
        let known = record.files.into_iter().enumerate().map(|(part, entry)| {
            let Entry { name, key, sha256, size_bytes } = entry;
            let path = self.outline_path(index, part);
            let is_outline = fs::metadata(&path).is_ok_and(|data| data.len() == size_bytes);
            let received = Some(Received { sha256: sha256.clone(), size_bytes });
            let piece = Piece { name: name.clone(), path, received };
            is_outline.then_some((piece, ImportedFile { name, key, sha256, size_bytes }))
        });
        Ok(known.collect())
    }

    /// Removes the records of an import of so many files.
    pub(super) fn clear(&self, files: usize) -> io::Result<()> {
        for index in 0..files {
            remove(&self.record_path(index))?;
            let mut part = 0;
            while remove(&self.outline_path(index, part))? {
                part += 1;
            }
        }
        Ok(())
    }

    fn record_path(&self, index: usize) -> PathBuf {
        self.work_dir.join(format!("import-{index}.done"))
    }

    fn outline_path(&self, index: usize, part: usize) -> PathBuf {
        self.work_dir.join(format!("import-{index}.{part}.outline"))
    }
}

/// Was there such a file?
fn remove(path: &Path) -> io::Result<bool> {
    match fs::remove_file(path) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_is_of_one_file_and_needs_its_outlines() {
        let work = tempfile::tempdir().unwrap();
        let records = Records::new(work.path());
        let path = work.path().join("piece");
        fs::write(&path, br#"{"a":1}"#).unwrap();
        let piece = Piece { name: "config.json".into(), path, received: None };
        let file =
            ImportedFile { name: piece.name.clone(), key: "k".into(), sha256: "s".into(), size_bytes: 7 };
        records.outline(3, 0, &piece).unwrap();
        assert!(records.read(3, "m").unwrap().is_none(), "nothing was recorded yet");
        records.write(3, "m", std::slice::from_ref(&file)).unwrap();
        let known = records.read(3, "m").unwrap().unwrap();
        assert_eq!(known[0].1, file);
        assert_eq!(fs::read(&known[0].0.path).unwrap(), br#"{"a":1}"#);
        assert!(records.read(3, "another").unwrap().is_none());
        assert!(records.read(2, "m").unwrap().is_none());
        fs::write(records.outline_path(3, 0), b"{").unwrap();
        assert!(records.read(3, "m").unwrap().is_none(), "the outline is not as long as the file");
        fs::write(records.record_path(3), b"{\"identity\":\"m\"").unwrap();
        assert!(records.read(3, "m").unwrap().is_none(), "no JSON");
        records.clear(4).unwrap();
        assert_eq!(fs::read_dir(work.path()).unwrap().count(), 1, "only the piece is left");
    }
}
