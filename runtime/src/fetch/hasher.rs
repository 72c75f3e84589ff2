//! Hashes a file from its start while its parts arrive in any order: reads what is whole, waits for what is not.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};

use sha2::{Digest, Sha256};
use tokio::task::JoinHandle;

/// A thread that follows the whole first part of a file.
pub(super) struct PrefixHasher {
    /// Carries where the whole first part ends; grows by each message.
    ends: Sender<u64>,
    stop: StopOnDrop,
    thread: JoinHandle<io::Result<Sha256>>,
}

/// Without a caller nobody wants the hash, and a thread that reads gigabytes would keep the process.
struct StopOnDrop(Arc<AtomicBool>);

impl Drop for StopOnDrop {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

impl PrefixHasher {
    /// Opens `path` and waits.
    pub(super) fn start(path: &Path) -> Self {
        let (ends, arriving) = channel();
        let stop = StopOnDrop(Arc::default());
        let (path, stopped) = (path.to_owned(), stop.0.clone());
        let thread = tokio::task::spawn_blocking(move || follow(&File::open(path)?, &arriving, &stopped));
        Self { ends, stop, thread }
    }

    /// The bytes up to `end` are whole.
    pub(super) fn whole_to(&self, end: u64) {
        // A thread that failed says so in `finish`.
        let _ = self.ends.send(end);
    }

    /// The hash of all that was announced: 64 lower-case hex digits.
    ///
    /// # Errors
    /// The file cannot be read.
    pub(super) async fn finish(self) -> io::Result<String> {
        let Self { ends, stop, thread } = self;
        drop(ends);
        let hashed = thread.await.map_err(io::Error::other)?;
        drop(stop);
        Ok(hex::encode(hashed?.finalize()))
    }
}

fn follow(mut file: &File, arriving: &Receiver<u64>, stopped: &AtomicBool) -> io::Result<Sha256> {
    let mut hasher = Sha256::new();
    let mut block = vec![0; 1 << 20];
    let mut at = 0;
    while let Ok(end) = arriving.recv() {
        while at < end {
            if stopped.load(Ordering::Relaxed) {
                return Err(io::ErrorKind::Interrupted.into());
            }
            let want = usize::try_from(end - at).unwrap_or(usize::MAX).min(block.len());
            match file.read(&mut block[..want])? {
                0 => return Err(io::ErrorKind::UnexpectedEof.into()),
                n => {
                    hasher.update(&block[..n]);
                    at += n as u64;
                }
            }
        }
    }
    Ok(hasher)
}
