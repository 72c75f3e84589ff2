//! Locks between the pods that share a cache directory: files in `locks/`, held with flock(2).
//!
//! A lock ends with the process that holds it, however that ends. The files stay: removing one would let two
//! processes hold "the same" lock on two files. Waiting asks again and again, so that it can be given up.

use std::fs::{File, OpenOptions, TryLockError};
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use tokio::time::sleep;

const FOLDER: &str = "locks";
/// The name of the lock of the one transfer; no hash is called so.
const TRANSFER: &str = "transfer";
/// Between two tries. Transfers take seconds at least.
const POLL: Duration = Duration::from_millis(100);

/// The locks of one directory.
#[derive(Debug, Clone)]
pub(super) struct Locks {
    folder: PathBuf,
}

/// Held until dropped.
#[derive(Debug)]
pub(super) struct Held {
    _file: File,
}

impl Locks {
    pub(super) fn open(directory: &Path) -> io::Result<Self> {
        let folder = directory.join(FOLDER);
        std::fs::create_dir_all(&folder)?;
        Ok(Self { folder })
    }

    /// The right to transfer and to remove files, of one process at a time.
    pub(super) async fn transfer(&self) -> io::Result<Held> {
        let mut told = false;
        loop {
            let file = self.file(TRANSFER)?;
            match file.try_lock() {
                Ok(()) => return Ok(Held { _file: file }),
                Err(TryLockError::WouldBlock) if !told => {
                    tracing::info!("another worker transfers into the shared cache; waiting for it");
                    told = true;
                }
                Err(TryLockError::WouldBlock) => {}
                Err(TryLockError::Error(error)) => return Err(error),
            }
            sleep(POLL).await;
        }
    }

    /// The right to use the file of `sha256`: it is not removed until then. Its time of last use becomes now.
    pub(super) async fn usage(&self, sha256: &str) -> io::Result<Held> {
        loop {
            let file = self.file(sha256)?;
            match file.try_lock_shared() {
                Ok(()) => {
                    file.set_modified(SystemTime::now())?;
                    return Ok(Held { _file: file });
                }
                // Somebody removes it, which takes no time.
                Err(TryLockError::WouldBlock) => sleep(POLL / 10).await,
                Err(TryLockError::Error(error)) => return Err(error),
            }
        }
    }

    /// The right to remove the file of `sha256`; `None` while anybody uses it.
    pub(super) fn removal(&self, sha256: &str) -> io::Result<Option<Held>> {
        let file = self.file(sha256)?;
        match file.try_lock() {
            Ok(()) => Ok(Some(Held { _file: file })),
            Err(TryLockError::WouldBlock) => Ok(None),
            Err(TryLockError::Error(error)) => Err(error),
        }
    }

    /// When the file of `sha256` was used last, by whichever process; `None`: never since there are locks.
    pub(super) fn last_used(&self, sha256: &str) -> Option<SystemTime> {
        std::fs::metadata(self.path(sha256)).and_then(|metadata| metadata.modified()).ok()
    }

    fn file(&self, name: &str) -> io::Result<File> {
        OpenOptions::new().read(true).write(true).create(true).truncate(false).open(self.path(name))
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.join(format!("{name}.lock"))
    }
}
