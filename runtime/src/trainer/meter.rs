//! Tells the facade how far a training is: every two seconds at most while something changes, and at once when a stage
//! begins. Never in the way of the training.

use std::convert::Infallible;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use easel_protocol::training::{TrainProgress, TrainStage};
use tokio::sync::Notify;
use tokio::time::{MissedTickBehavior, interval};

use crate::error::chain;
use crate::facade::Facade;

const PERIOD: Duration = Duration::from_secs(2);

/// Written by whoever does the work, in whichever thread.
#[derive(Debug, Default)]
pub(super) struct Meter {
    told: Mutex<TrainProgress>,
    stage: Notify,
}

impl Meter {
    /// A stage, of which `done` of `total` files, pictures or bytes are done.
    pub(super) fn stage(&self, stage: TrainStage, done: u64, total: u64) {
        let mut begins = false;
        self.update(|told| {
            begins = told.stage != stage;
            (told.stage, told.done, told.total) = (stage, done, total);
        });
        if begins {
            self.stage.notify_one();
        }
    }

    pub(super) fn update(&self, change: impl FnOnce(&mut TrainProgress)) {
        // Whatever panicked while it wrote left numbers behind, and numbers are all there is.
        change(&mut self.told.lock().unwrap_or_else(PoisonError::into_inner));
    }

    pub(super) fn read(&self) -> TrainProgress {
        self.told.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// Sends what the meter shows, until dropped. A failed call is not repeated: the next one says more.
pub(super) async fn report(facade: &Facade, meter: &Meter) -> Infallible {
    let mut ticks = interval(PERIOD);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut last = None;
    loop {
        tokio::select! {
            _ = ticks.tick() => {}
            () = meter.stage.notified() => {}
        }
        let now = meter.read();
        if last.as_ref() != Some(&now) && send(facade, &now).await {
            last = Some(now);
        }
    }
}

/// Sends what the meter shows at the end.
pub(super) async fn last_word(facade: &Facade, meter: &Meter) {
    send(facade, &meter.read()).await;
}

async fn send(facade: &Facade, progress: &TrainProgress) -> bool {
    let sent = facade.training_progress(progress).await;
    if let Err(error) = &sent {
        tracing::debug!(error = %chain(error), "progress was not told");
    }
    sent.is_ok()
}
