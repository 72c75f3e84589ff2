//! The directory, and how a file gets into it: written aside, synced, renamed, the directory synced. Whenever
//! the machine stops, an object is there as it was before or as it is after.
//!
//! ```text
//! lock              held by the process that uses the directory
//! credentials.json
//! tmp/              being written; emptied at the start
//! objects/a/b/=c    the object a/b/c: only the last component begins with "=", so `a` and `a/b` never meet
//! uploads/<id>/     upload.json and the parts
//! ```

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use futures::{Stream, StreamExt as _};
use s3s::crypto::{Checksum as _, Md5};
use tokio::io::{AsyncWriteExt as _, BufWriter};
use uuid::Uuid;

use super::trailer::Trailer;
use crate::objects::ObjectKey;

/// How often a directory may vanish (its last object was deleted) between being made and being used.
const RENAME_TRIES: usize = 16;
const WRITE_BUFFER_BYTES: usize = 1 << 20;

#[derive(Clone, Debug)]
pub(super) struct Files {
    root: Arc<Path>,
    /// Open as long as the directory is ours.
    _lock: Arc<File>,
}

impl Files {
    /// Takes the directory, making it if need be. [`io::ErrorKind::WouldBlock`]: another process has it.
    pub(super) fn open(root: &Path) -> io::Result<Self> {
        fs::create_dir_all(root)?;
        let lock = File::options().create(true).truncate(false).write(true).open(root.join("lock"))?;
        lock.try_lock().map_err(io::Error::from)?;
        match fs::remove_dir_all(root.join("tmp")) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        for directory in ["tmp", "objects", "uploads"] {
            fs::create_dir_all(root.join(directory))?;
        }
        sync_directory(root)?;
        Ok(Self { root: root.into(), _lock: Arc::new(lock) })
    }

    pub(super) fn objects(&self) -> PathBuf {
        self.root.join("objects")
    }

    pub(super) fn uploads(&self) -> PathBuf {
        self.root.join("uploads")
    }

    pub(super) fn path_of(&self, key: &ObjectKey) -> PathBuf {
        let mut path = self.objects();
        let mut components = key.as_str().split('/').peekable();
        while let Some(component) = components.next() {
            let is_last = components.peek().is_none();
            path.push(if is_last { format!("={component}") } else { directory_name(component) });
        }
        path
    }

    /// Opens an object for reading.
    pub(super) async fn read(&self, path: PathBuf) -> io::Result<(File, Trailer)> {
        blocking(move || {
            let mut file = File::open(path)?;
            let trailer = Trailer::read(&mut file)?;
            Ok((file, trailer))
        })
        .await
    }

    /// Writes a stream aside. `trailer` is completed with size and MD5.
    pub(super) async fn write_aside<S, E>(
        &self,
        mut body: S,
        mut trailer: Trailer,
    ) -> Result<Aside, WriteError>
    where
        S: Stream<Item = Result<Bytes, E>> + Unpin,
        E: Into<s3s::StdError>,
    {
        let mut aside = self.aside();
        let file = tokio::fs::File::create_new(&aside.path).await.map_err(WriteError::Disk)?;
        let mut file = BufWriter::with_capacity(WRITE_BUFFER_BYTES, file);
        let mut md5 = Md5::new();
        while let Some(chunk) = body.next().await {
            let chunk = chunk.map_err(|error| WriteError::Sender(error.into()))?;
            md5.update(&chunk);
            trailer.size += chunk.len() as u64;
            file.write_all(&chunk).await.map_err(WriteError::Disk)?;
        }
        let md5 = md5.finalize();
        trailer.etag = hex::encode(md5);
        file.write_all(&trailer.to_bytes()).await.map_err(WriteError::Disk)?;
        file.flush().await.map_err(WriteError::Disk)?;
        file.get_ref().sync_all().await.map_err(WriteError::Disk)?;
        (aside.trailer, aside.md5) = (trailer, md5);
        Ok(aside)
    }

    /// A name aside; nothing is there yet.
    pub(super) fn aside(&self) -> Aside {
        let path = self.root.join("tmp").join(Uuid::new_v4().to_string());
        Aside { path, trailer: Trailer::default(), md5: [0; 16] }
    }

    /// Makes what was written aside the object, making the directories on the way.
    pub(super) async fn place(&self, aside: Aside, to: PathBuf) -> io::Result<Trailer> {
        let objects = self.objects();
        blocking(move || {
            let parent = to.parent().expect("an object lies below objects/").to_owned();
            for _ in 0..RENAME_TRIES {
                fs::create_dir_all(&parent)?;
                match fs::rename(&aside.path, &to) {
                    Ok(()) => {
                        for directory in parent.ancestors().take_while(|path| path.starts_with(&objects)) {
                            sync_directory(directory)?;
                        }
                        return Ok(aside.trailer.clone());
                    }
                    Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                    Err(error) => return Err(error),
                }
            }
            Err(io::Error::other("the object's directory keeps vanishing"))
        })
        .await
    }

    /// Removes an object and the directories that it leaves empty. Fine if it is not there.
    pub(super) async fn remove(&self, path: PathBuf) -> io::Result<()> {
        let objects = self.objects();
        blocking(move || {
            match fs::remove_file(&path) {
                Ok(()) => {}
                Err(error) if is_absent(&error) => return Ok(()),
                Err(error) => return Err(error),
            }
            let below = |path: &&Path| path.starts_with(&objects) && *path != objects;
            for directory in path.ancestors().skip(1) {
                // Fails, as it should, when something else is in there.
                if !below(&directory) || fs::remove_dir(directory).is_err() {
                    return match sync_directory(directory) {
                        Err(error) if is_absent(&error) => Ok(()),
                        done => done,
                    };
                }
            }
            Ok(())
        })
        .await
    }
}

/// A file that is written but not yet in its place; gone when dropped.
#[derive(Debug)]
pub(super) struct Aside {
    pub(super) path: PathBuf,
    pub(super) trailer: Trailer,
    pub(super) md5: [u8; 16],
}

impl Drop for Aside {
    fn drop(&mut self) {
        // After the rename there is nothing left to remove.
        let _ = fs::remove_file(&self.path);
    }
}

#[derive(Debug)]
pub(super) enum WriteError {
    Sender(s3s::StdError),
    Disk(io::Error),
}

/// A component as a directory's name: never one that an object could have.
fn directory_name(component: &str) -> String {
    // "%" is free to mark the escape, as it is doubled itself.
    component
        .replace('%', "%%")
        .strip_prefix('=')
        .map_or_else(|| component.replace('%', "%%"), |rest| format!("%={rest}"))
}

/// The component that a directory's name stands for.
pub(super) fn component_of(directory: &str) -> String {
    directory
        .strip_prefix("%=")
        .map_or_else(|| directory.to_owned(), |rest| format!("={rest}"))
        .replace("%%", "%")
}

/// Nothing is at the path: also when a part of it is a file or its name is too long for the file system.
pub(super) fn is_absent(error: &io::Error) -> bool {
    use io::ErrorKind::{InvalidFilename, NotADirectory, NotFound};
    matches!(error.kind(), NotFound | NotADirectory | InvalidFilename)
}

pub(super) fn sync_directory(path: &Path) -> io::Result<()> {
    File::open(path)?.sync_all()
}

/// Runs file work where it may block.
pub(super) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> io::Result<T> {
    tokio::task::spawn_blocking(work).await.map_err(io::Error::other)?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn directories_and_objects_never_share_a_name() {
        for component in ["a", "=a", "%=a", "%", "%%", "=%", "a=b%c", "..."] {
            let name = directory_name(component);
            assert!(!name.starts_with('='), "{name}");
            assert_eq!(component_of(&name), component);
        }
    }

    #[test]
    fn one_directory_has_one_user() {
        let directory = tempfile::tempdir().unwrap();
        let first = Files::open(directory.path()).unwrap();
        assert_eq!(Files::open(directory.path()).unwrap_err().kind(), io::ErrorKind::WouldBlock);
        fs::write(first.aside().path.clone(), "half").unwrap();
        drop(first);
        let files = Files::open(directory.path()).unwrap();
        let tmp = files.aside().path.parent().unwrap().to_owned();
        assert_eq!(fs::read_dir(tmp).unwrap().count(), 0, "what a crash left is gone");
    }
}
