//! Sample pictures on their way into the object store. None of them ends a run.

use std::collections::VecDeque;
use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use easel_protocol::training::{SamplesDone, SamplesRequest};
use futures::future::try_join_all;
use tokio::sync::Notify;
use tokio::time::{Instant, sleep};

use super::error::TrainerError;
use crate::backoff::Backoff;
use crate::error::chain;
use crate::facade::Facade;
use crate::upload::put;

/// Sets that wait while the facade is away; more drive out the oldest.
const MAX_WAITING: usize = 64;
/// How long they are tried after the run's end.
const END_PATIENCE: Duration = Duration::from_secs(120);

#[derive(Debug)]
struct Set {
    step: u64,
    pictures: Vec<PathBuf>,
}

#[derive(Debug, Default)]
struct Waiting {
    sets: VecDeque<Set>,
    closed: Option<Instant>,
}

/// Between the run, in its own thread, and who sends.
#[derive(Debug, Default)]
pub(super) struct Samples {
    waiting: Mutex<Waiting>,
    changed: Notify,
}

impl Samples {
    /// The run drew these.
    pub(super) fn add(&self, step: u64, pictures: &[PathBuf]) {
        let mut waiting = self.lock();
        if waiting.sets.len() >= MAX_WAITING
            && let Some(oldest) = waiting.sets.pop_front()
        {
            tracing::warn!(step = oldest.step, "sample pictures are left out: too many wait");
            remove(&oldest);
        }
        waiting.sets.push_back(Set { step, pictures: pictures.to_vec() });
        drop(waiting);
        self.changed.notify_one();
    }

    /// No other will come.
    pub(super) fn close(&self) {
        self.lock().closed.get_or_insert_with(Instant::now);
        self.changed.notify_one();
    }

    /// Sends what comes, until closed and empty.
    pub(super) async fn run(&self, facade: &Facade, http: &reqwest::Client) {
        loop {
            let (next, closed) = {
                let mut waiting = self.lock();
                (waiting.sets.pop_front(), waiting.closed.is_some())
            };
            match next {
                Some(set) => {
                    self.store(facade, http, &set).await;
                    remove(&set);
                }
                None if closed => return,
                None => self.changed.notified().await,
            }
        }
    }

    async fn store(&self, facade: &Facade, http: &reqwest::Client, set: &Set) {
        let mut backoff = Backoff::new(Duration::from_secs(1), Duration::from_secs(30));
        loop {
            let Err(error) = send(facade, http, set).await else { return };
            let over = self.lock().closed.is_some_and(|since| since.elapsed() > END_PATIENCE);
            if over || !error.retriable() {
                tracing::warn!(step = set.step, error = %chain(&error), "sample pictures are left out");
                return;
            }
            tracing::warn!(step = set.step, error = %chain(&error), "cannot store sample pictures; trying again");
            sleep(backoff.next_delay()).await;
        }
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        // Nothing in here panics while it holds the lock.
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn remove(set: &Set) {
    for picture in &set.pictures {
        // What cannot be removed only takes room.
        let _ = std::fs::remove_file(picture);
    }
}

async fn send(facade: &Facade, http: &reqwest::Client, set: &Set) -> Result<(), TrainerError> {
    let failed = |source| TrainerError::Facade { source };
    let (step, count) = (set.step, u32::try_from(set.pictures.len()).unwrap_or(u32::MAX));
    let plan = facade.samples(&SamplesRequest { step, count }).await.map_err(failed)?;
    if plan.pictures.len() != set.pictures.len() {
        return Err(TrainerError::PlanMismatch { asked: set.pictures.len(), got: plan.pictures.len() });
    }
    let sends = set.pictures.iter().zip(&plan.pictures).map(async |(path, slot)| {
        let unusable = |source| TrainerError::WorkDirectory { path: path.clone(), source };
        let bytes = tokio::fs::read(path).await.map_err(unusable)?;
        let what = format!("a sample picture of step {step}");
        Ok::<_, TrainerError>(put(http, &slot.url, "image/png", bytes.into(), &what).await?)
    });
    try_join_all(sends).await?;
    facade.complete_samples(&SamplesDone { step, count }).await.map_err(failed)
}
