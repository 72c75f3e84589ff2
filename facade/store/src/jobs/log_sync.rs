//! One sync of SQLite's write-ahead log for all who wait for one.
//!
//! A commit with `synchronous=NORMAL` is in the log, but the log is not yet on the disk. Syncing the file puts
//! every commit there that was made before; one that has meanwhile been moved from the log to the database was
//! synced by SQLite when it did so. `synchronous=FULL` would sync once per commit, one after the other: fifty
//! callers would wait for fifty syncs instead of two.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::sync::Mutex;

#[derive(Clone, Debug)]
pub(super) struct LogSync(Arc<State>);

#[derive(Debug)]
struct State {
    log: PathBuf,
    /// Commits that asked for a sync.
    made: AtomicU64,
    /// Those of them that are on the disk. Locked while syncing.
    synced: Mutex<u64>,
}

impl LogSync {
    /// For the database in the given file.
    pub(super) fn new(database: &Path) -> Self {
        let mut log = database.as_os_str().to_owned();
        log.push("-wal");
        Self(Arc::new(State { log: log.into(), made: AtomicU64::new(0), synced: Mutex::new(0) }))
    }

    /// Returns when every commit that was made before the call is on the disk.
    pub(super) async fn wait(&self) -> io::Result<()> {
        let mine = self.0.made.fetch_add(1, Ordering::SeqCst) + 1;
        let mut synced = self.0.synced.lock().await;
        if *synced >= mine {
            return Ok(());
        }
        let all = self.0.made.load(Ordering::SeqCst);
        let log = self.0.log.clone();
        let done = tokio::task::spawn_blocking(move || match File::open(log) {
            Ok(log) => log.sync_data(),
            // Closed and moved to the database by another process.
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            Err(error) => Err(error),
        });
        done.await.map_err(io::Error::other)??;
        *synced = all;
        Ok(())
    }
}

/// Puts the names of the database's files on the disk.
pub(super) async fn sync_directory_of(database: &Path) -> io::Result<()> {
    let directory = match database.parent() {
        Some(parent) if parent != Path::new("") => parent.to_owned(),
        _ => PathBuf::from("."),
    };
    tokio::task::spawn_blocking(move || File::open(directory)?.sync_all()).await.map_err(io::Error::other)?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn waiting_together_costs_one_sync() {
        let directory = tempfile::tempdir().unwrap();
        let database = directory.path().join("jobs.db");
        std::fs::write(directory.path().join("jobs.db-wal"), "log").unwrap();
        let log = LogSync::new(&database);
        let running = log.0.synced.lock().await;
        let waiting: Vec<_> = (0..9)
            .map(|_| {
                tokio::spawn({
                    let log = log.clone();
                    async move { log.wait().await }
                })
            })
            .collect();
        while log.0.made.load(Ordering::SeqCst) < 9 {
            tokio::task::yield_now().await;
        }
        drop(running);
        for wait in waiting {
            wait.await.unwrap().unwrap();
        }
        assert_eq!(*log.0.synced.lock().await, 9, "the first sync was for all");
        sync_directory_of(&database).await.unwrap();
    }
}
