//! Checkpoints on their way into the object store, while the run goes on: one at a time, and of those that wait only
//! the newest. The files of one that is sent or waits are links, so that the run may remove its own.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use easel_protocol::import::{StoreDone, StorePlan};
use easel_protocol::training::{CheckpointDone, CheckpointFile, CheckpointRequest};
use futures::future::try_join_all;
use tokio::sync::Notify;
use tokio::time::{Instant, sleep};

use super::error::TrainerError;
use super::losses::{LOSSES, Losses};
use crate::backoff::Backoff;
use crate::error::chain;
use crate::facade::Facade;
use crate::upload::Parts;

/// Refusals in a row after which the facade means it.
const REFUSALS: u32 = 3;
/// How long the last checkpoint is tried after the run's end. Within it a facade or a store comes back; with SIGTERM
/// the grace is over before.
const END_PATIENCE: Duration = Duration::from_secs(600);

/// A file as it is sent: its first `bytes`.
#[derive(Debug, Clone)]
struct Sent {
    name: String,
    path: PathBuf,
    bytes: u64,
}

/// A checkpoint that waits.
#[derive(Debug)]
struct Pending {
    step: u64,
    /// Removed with what is in it when nobody wants it any more.
    folder: PathBuf,
    files: Vec<Sent>,
}

impl Drop for Pending {
    fn drop(&mut self) {
        // What cannot be removed only takes room.
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

#[derive(Debug, Default)]
struct Waiting {
    newest: Option<Pending>,
    closed: Option<Instant>,
}

/// Between the run, in its own thread, and who sends.
#[derive(Debug)]
pub(super) struct Checkpoints {
    /// Where links are made.
    folder: PathBuf,
    waiting: Mutex<Waiting>,
    changed: Notify,
    refused: AtomicBool,
    /// Step of the newest that counts.
    completed: AtomicU64,
}

impl Checkpoints {
    /// `completed`: the step that the run goes on from.
    pub(super) fn new(folder: PathBuf, completed: u64) -> Self {
        Self {
            folder,
            waiting: Mutex::default(),
            changed: Notify::new(),
            refused: AtomicBool::new(false),
            completed: AtomicU64::new(completed),
        }
    }

    /// Step of the newest checkpoint that the facade knows to be whole.
    pub(super) fn completed(&self) -> u64 {
        self.completed.load(Ordering::Relaxed)
    }

    /// No checkpoint will be taken any more: the run is in vain.
    pub(super) fn refused(&self) -> bool {
        self.refused.load(Ordering::Relaxed)
    }

    /// The run wrote `tensors`, and a card beside it.
    ///
    /// # Errors
    /// The disk fails.
    pub(super) fn add(&self, step: u64, tensors: &Path, losses: &Losses) -> std::io::Result<()> {
        let folder = self.folder.join(format!("{step}"));
        let mut pending = Pending { step, folder, files: Vec::new() };
        std::fs::create_dir_all(&pending.folder)?;
        for from in [tensors.to_owned(), tensors.with_extension("json")] {
            let name = from.file_name().unwrap_or_default().to_string_lossy().into_owned();
            let path = pending.folder.join(&name);
            match std::fs::remove_file(&path) {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
            std::fs::hard_link(&from, &path)?;
            let bytes = path.metadata()?.len();
            pending.files.push(Sent { name, path, bytes });
        }
        let (path, bytes) = (losses.path().to_owned(), losses.bytes());
        pending.files.push(Sent { name: LOSSES.to_owned(), path, bytes });
        if let Some(skipped) = self.lock().newest.replace(pending) {
            tracing::warn!(
                step = skipped.step,
                "a checkpoint is not stored: a newer one came before its turn"
            );
        }
        self.changed.notify_one();
        Ok(())
    }

    /// No other will come.
    pub(super) fn close(&self) {
        self.lock().closed.get_or_insert_with(Instant::now);
        self.changed.notify_one();
    }

    /// Sends what comes, until closed and empty. A facade or store that is away is waited for.
    ///
    /// # Errors
    /// The facade refuses for good.
    pub(super) async fn run(&self, facade: &Facade, http: &reqwest::Client) -> Result<(), TrainerError> {
        loop {
            let (next, closed) = {
                let mut waiting = self.lock();
                (waiting.newest.take(), waiting.closed.is_some())
            };
            match next {
                Some(pending) => self.store(facade, http, pending).await?,
                None if closed => return Ok(()),
                None => self.changed.notified().await,
            }
        }
    }

    async fn store(
        &self,
        facade: &Facade,
        http: &reqwest::Client,
        pending: Pending,
    ) -> Result<(), TrainerError> {
        let step = pending.step;
        let (mut backoff, mut refusals) = (Backoff::new(Duration::from_secs(1), Duration::from_secs(30)), 0);
        loop {
            let error = match send(facade, http, &pending).await {
                Ok(()) => {
                    self.completed.store(step, Ordering::Relaxed);
                    tracing::info!(step, "checkpoint stored");
                    return Ok(());
                }
                Err(error) => error,
            };
            refusals = if error.retriable() { 0 } else { refusals + 1 };
            if refusals >= REFUSALS {
                self.refused.store(true, Ordering::Relaxed);
                return Err(error);
            }
            let (newer, closed) = {
                let waiting = self.lock();
                (waiting.newest.is_some(), waiting.closed)
            };
            if newer || closed.is_some_and(|since| since.elapsed() > END_PATIENCE) {
                tracing::warn!(step, error = %chain(&error), "a checkpoint could not be stored and is left out");
                return Ok(());
            }
            tracing::warn!(step, error = %chain(&error), "cannot store a checkpoint; trying again");
            tokio::select! {
                () = sleep(backoff.next_delay()) => {}
                () = self.changed.notified() => {}
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        // Nothing in here panics while it holds the lock.
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn send(facade: &Facade, http: &reqwest::Client, pending: &Pending) -> Result<(), TrainerError> {
    let failed = |source| TrainerError::Facade { source };
    let step = pending.step;
    let asked = |file: &Sent| CheckpointFile { name: file.name.clone(), size_bytes: file.bytes };
    let request = CheckpointRequest { step, files: pending.files.iter().map(asked).collect() };
    let plan = facade.checkpoint(&request).await.map_err(failed)?;
    if plan.files.len() != pending.files.len() {
        return Err(TrainerError::PlanMismatch { asked: pending.files.len(), got: plan.files.len() });
    }
    let sends = pending.files.iter().zip(plan.files).map(|(file, plan)| send_file(http, file, plan));
    let files = try_join_all(sends).await?;
    facade.complete_checkpoint(&CheckpointDone { step, files }).await.map_err(failed)
}

async fn send_file(http: &reqwest::Client, file: &Sent, plan: StorePlan) -> Result<StoreDone, TrainerError> {
    let parts = Parts { http, file: &file.name, path: &file.path, size_bytes: file.bytes, plan: &plan };
    let parts = parts.send(&|_| {}).await?;
    let StorePlan { key, upload_id, .. } = plan;
    Ok(StoreDone { key, upload_id, size_bytes: file.bytes, parts })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_waits_and_its_files_stay() {
        let dir = tempfile::tempdir().unwrap();
        let mut losses = Losses::open(&dir.path().join(LOSSES)).unwrap();
        let checkpoints = Checkpoints::new(dir.path().join("uploads"), 0);
        for step in [2, 4] {
            losses.add(step, 1.0, 1e-4, 1).unwrap();
            let tensors = dir.path().join(format!("step-{step}.safetensors"));
            std::fs::write(&tensors, "tensors").unwrap();
            std::fs::write(tensors.with_extension("json"), "card").unwrap();
            checkpoints.add(step, &tensors, &losses).unwrap();
            std::fs::remove_file(tensors).unwrap();
        }
        losses.add(5, 1.0, 1e-4, 1).unwrap();
        assert!(!dir.path().join("uploads/2").exists(), "what was skipped is gone");
        let pending = checkpoints.lock().newest.take().unwrap();
        assert_eq!(pending.step, 4);
        let sizes: Vec<_> = pending.files.iter().map(|file| (file.name.as_str(), file.bytes)).collect();
        let lines = "step,loss,learning_rate,milliseconds\n2,1,0.0001,1\n4,1,0.0001,1\n".len() as u64;
        assert_eq!(sizes, [("step-4.safetensors", 7), ("step-4.json", 4), (LOSSES, lines)]);
        assert_eq!(std::fs::read(&pending.files[0].path).unwrap(), b"tensors");
        let folder = pending.folder.clone();
        drop(pending);
        assert!(!folder.exists());
    }
}
