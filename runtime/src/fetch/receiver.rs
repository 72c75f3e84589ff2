//! Takes bytes in order, hashes them, and writes them to a file if there is one.

use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};
use tokio::fs::{File, OpenOptions};
use tokio::io::{AsyncReadExt, AsyncSeekExt, AsyncWriteExt};

use super::error::FetchError;

/// Bytes received so far.
pub struct Receiver {
    file: Option<(PathBuf, File)>,
    hasher: Sha256,
    len: u64,
}

/// A whole file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Received {
    /// 64 lower-case hex digits.
    pub sha256: String,
    pub size_bytes: u64,
}

impl Receiver {
    /// Hashes only.
    pub fn hash_only() -> Self {
        Self { file: None, hasher: Sha256::new(), len: 0 }
    }

    /// Writes to `path`, and takes what is there already as the first part of the file: it is hashed again.
    ///
    /// # Errors
    /// [`FetchError::Write`].
    pub async fn resume_file(path: &Path) -> Result<Self, FetchError> {
        let mut receiver = Self::hash_only();
        let opened = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path).await;
        let mut file = opened.map_err(|source| FetchError::Write { path: path.to_owned(), source })?;
        let mut block = vec![0; 1 << 20];
        loop {
            let read = file.read(&mut block).await;
            match read.map_err(|source| FetchError::Write { path: path.to_owned(), source })? {
                0 => break,
                n => {
                    receiver.hasher.update(&block[..n]);
                    receiver.len += n as u64;
                }
            }
        }
        receiver.file = Some((path.to_owned(), file));
        Ok(receiver)
    }

    /// Writes to `path`, and keeps nothing of what is there: it may be another version of the file.
    ///
    /// # Errors
    /// [`FetchError::Write`].
    pub async fn empty_file(path: &Path) -> Result<Self, FetchError> {
        let opened = OpenOptions::new().write(true).create(true).truncate(true).open(path).await;
        let file = opened.map_err(|source| FetchError::Write { path: path.to_owned(), source })?;
        Ok(Self { file: Some((path.to_owned(), file)), ..Self::hash_only() })
    }

    /// Bytes received so far.
    pub fn len(&self) -> u64 {
        self.len
    }

    /// Nothing received yet?
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// # Errors
    /// [`FetchError::Write`], for example when the disk is full.
    pub async fn write(&mut self, bytes: &[u8]) -> Result<(), FetchError> {
        if let Some((path, file)) = &mut self.file {
            let written = file.write_all(bytes).await;
            written.map_err(|source| FetchError::Write { path: path.clone(), source })?;
        }
        self.hasher.update(bytes);
        self.len += bytes.len() as u64;
        Ok(())
    }

    /// Forgets everything: the other side starts from byte 0 again.
    ///
    /// # Errors
    /// [`FetchError::Write`].
    pub async fn restart(&mut self) -> Result<(), FetchError> {
        if let Some((path, file)) = &mut self.file {
            let emptied = async {
                file.flush().await?;
                file.set_len(0).await?;
                file.rewind().await
            };
            emptied.await.map_err(|source| FetchError::Write { path: path.clone(), source })?;
        }
        self.hasher = Sha256::new();
        self.len = 0;
        Ok(())
    }

    /// Ends the file: after this its bytes survive a crash of the machine.
    ///
    /// # Errors
    /// [`FetchError::Write`].
    pub async fn finish(mut self) -> Result<Received, FetchError> {
        if let Some((path, file)) = &mut self.file {
            let synced = async {
                file.flush().await?;
                file.sync_all().await
            };
            synced.await.map_err(|source| FetchError::Write { path: path.clone(), source })?;
        }
        Ok(Received { sha256: hex::encode(self.hasher.finalize()), size_bytes: self.len })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_resumed_file_hashes_like_a_whole_one() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("part");
        std::fs::write(&path, b"hello ").unwrap();
        let mut receiver = Receiver::resume_file(&path).await.unwrap();
        assert_eq!(receiver.len(), 6);
        receiver.write(b"world").await.unwrap();
        let received = receiver.finish().await.unwrap();
        let want = "b94d27b9934d3e08a52e52d7da7dabfac484efe37a5380ee9088f7ace2efcde9";
        assert_eq!(received, Received { sha256: want.into(), size_bytes: 11 });
        assert_eq!(std::fs::read(&path).unwrap(), b"hello world");
    }

    #[tokio::test]
    async fn a_restart_leaves_nothing_of_the_first_try() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("part");
        let mut receiver = Receiver::resume_file(&path).await.unwrap();
        receiver.write(b"a longer first try").await.unwrap();
        receiver.restart().await.unwrap();
        receiver.write(b"hello world").await.unwrap();
        let received = receiver.finish().await.unwrap();
        assert!(received.sha256.starts_with("b94d27b9"), "{received:?}");
        assert_eq!(std::fs::read(&path).unwrap(), b"hello world");
    }
}
