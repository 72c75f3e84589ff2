//! Listing keys, in the order of their bytes.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use super::files::{Files, blocking, component_of, is_absent};
use super::trailer::Trailer;

#[derive(Clone, Debug)]
pub(super) struct Found {
    pub(super) key: String,
    pub(super) trailer: Trailer,
    pub(super) modified: SystemTime,
}

impl Files {
    /// Keys that begin with `prefix` and come after `after`, `limit` at most.
    pub(super) async fn list(
        &self,
        prefix: String,
        after: Option<String>,
        limit: usize,
    ) -> io::Result<Vec<Found>> {
        let objects = self.objects();
        blocking(move || {
            let mut walk = Walk { prefix: &prefix, after: after.as_deref(), limit, found: Vec::new() };
            walk.directory(&objects, "")?;
            Ok(walk.found)
        })
        .await
    }
}

struct Walk<'a> {
    prefix: &'a str,
    after: Option<&'a str>,
    limit: usize,
    found: Vec<Found>,
}

impl Walk<'_> {
    /// `path` holds the objects whose keys begin with `begin`, which is empty or ends with "/".
    fn directory(&mut self, path: &Path, begin: &str) -> io::Result<()> {
        let entries = match fs::read_dir(path) {
            Ok(entries) => entries,
            // Its last object was deleted meanwhile.
            Err(error) if is_absent(&error) => return Ok(()),
            Err(error) => return Err(error),
        };
        let mut names = Vec::new();
        for entry in entries {
            let entry = entry?;
            names.extend(key_of(begin, &entry.file_name()).map(|key| (key, entry.path())));
        }
        // A directory's "/" takes part in the order, so the keys below it come where they belong.
        names.sort();
        for (key, path) in names {
            if self.found.len() == self.limit {
                return Ok(());
            }
            if key.ends_with('/') {
                if self.may_hold_some(&key) {
                    self.directory(&path, &key)?;
                }
            } else if key.starts_with(self.prefix) && self.after.is_none_or(|after| key.as_str() > after) {
                self.object(key, path)?;
            }
        }
        Ok(())
    }

    fn may_hold_some(&self, begin: &str) -> bool {
        let fits = begin.starts_with(self.prefix) || self.prefix.starts_with(begin);
        fits && self.after.is_none_or(|after| begin > after || after.starts_with(begin))
    }

    fn object(&mut self, key: String, path: PathBuf) -> io::Result<()> {
        let mut file = match File::open(path) {
            Ok(file) => file,
            Err(error) if is_absent(&error) => return Ok(()),
            Err(error) => return Err(error),
        };
        let modified = file.metadata()?.modified()?;
        let trailer = Trailer::read(&mut file)?;
        self.found.push(Found { key, trailer, modified });
        Ok(())
    }
}

/// The key, or with "/" at its end the beginning of the keys, that an entry stands for.
fn key_of(begin: &str, name: &OsStr) -> Option<String> {
    let name = name.to_str()?;
    Some(match name.strip_prefix('=') {
        Some(last) => format!("{begin}{last}"),
        None => format!("{begin}{}/", component_of(name)),
    })
}
