//! Tells the facade how far an import is, at most every two seconds, and never in the way of the import.

use std::convert::Infallible;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use easel_protocol::import::{ImportPhase, ImportProgress};
use tokio::time::{Instant, MissedTickBehavior, interval_at, timeout};

use crate::error::chain;
use crate::facade::Facade;
use crate::fetch;

const PERIOD: Duration = Duration::from_secs(2);
/// For the last word, which nobody waits for.
const LAST_WORD: Duration = Duration::from_secs(5);

/// What is being done, and how far it is; written by whoever does it.
#[derive(Debug, Default)]
pub(super) struct Meter(Mutex<Figures>);

#[derive(Debug, Default)]
struct Figures {
    phase: Option<ImportPhase>,
    /// Of the present step: bytes, and how many they will be.
    done: u64,
    total: Option<u64>,
    /// Bytes of the files that were fetched before the present one.
    fetched: u64,
    /// Of all files, where their origin announced it.
    announced: Option<u64>,
}

impl Meter {
    /// Sizes of all files, as their origin announces them. With one unknown the sum is unknown.
    pub(super) fn expect(&self, mut sizes: impl Iterator<Item = Option<u64>>) {
        self.figures().announced = sizes.try_fold(0_u64, |sum, size| sum.checked_add(size?));
    }

    /// How far the present file is on its way from the origin.
    pub(super) fn fetching(&self, progress: fetch::Progress) {
        self.step(ImportPhase::Fetching, progress.received, progress.total);
    }

    /// How far a step is, in its own bytes.
    pub(super) fn step(&self, phase: ImportPhase, done: u64, total: Option<u64>) {
        let mut figures = self.figures();
        (figures.phase, figures.done, figures.total) = (Some(phase), done, total);
    }

    /// The present file is here.
    pub(super) fn file_done(&self, size: u64) {
        let mut figures = self.figures();
        figures.fetched = figures.fetched.saturating_add(size);
        (figures.phase, figures.done, figures.total) = (Some(ImportPhase::Checking), 0, None);
    }

    /// Without the rate, which only time tells.
    fn read(&self) -> ImportProgress {
        let figures = self.figures();
        let Figures { phase, done, total, fetched, announced } = *figures;
        let (bytes_done, bytes_total) = match phase {
            // Over all files.
            Some(ImportPhase::Fetching) => {
                let done = fetched.saturating_add(done);
                let known = total.map(|total| fetched.saturating_add(total));
                (done, known.max(announced).map(|total| total.max(done)))
            }
            _ => (done, total.map(|total| total.max(done))),
        };
        ImportProgress { phase, bytes_done, bytes_total, bytes_per_second: 0 }
    }

    fn figures(&self) -> MutexGuard<'_, Figures> {
        // Numbers; whatever stands there can be read.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Sends what the meter shows, until dropped. A failed call is not repeated: the next one says more.
pub(super) async fn report(facade: &Facade, meter: &Meter) -> Infallible {
    let mut ticks = interval_at(Instant::now() + PERIOD, PERIOD);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let (mut last, mut last_time) = (meter.read(), Instant::now());
    loop {
        let now = ticks.tick().await;
        let mut progress = meter.read();
        progress.bytes_per_second = rate(since(&last, &progress), now - last_time);
        (last, last_time) = (progress.clone(), now);
        tell(facade, &progress).await;
    }
}

/// Says that the import has ended: what is left in the Model's status is no phase of anything.
pub(super) async fn report_end(facade: &Facade, meter: &Meter) {
    let progress = ImportProgress { phase: None, ..meter.read() };
    // Whether somebody heard it makes no difference to the import.
    let _ = timeout(LAST_WORD, tell(facade, &progress)).await;
}

async fn tell(facade: &Facade, progress: &ImportProgress) {
    if let Err(error) = facade.import_progress(progress).await {
        tracing::debug!(error = %chain(&error), "progress was not told");
    }
}

/// New bytes of the present step: one that began meanwhile began at 0.
fn since(last: &ImportProgress, now: &ImportProgress) -> u64 {
    match last.phase == now.phase && last.bytes_done <= now.bytes_done {
        true => now.bytes_done - last.bytes_done,
        false => now.bytes_done,
    }
}

fn rate(bytes: u64, time: Duration) -> u64 {
    let millis = u64::try_from(time.as_millis()).unwrap_or(u64::MAX).max(1);
    bytes.saturating_mul(1000) / millis
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(meter: &Meter) -> (Option<ImportPhase>, u64, Option<u64>) {
        let ImportProgress { phase, bytes_done, bytes_total, .. } = meter.read();
        (phase, bytes_done, bytes_total)
    }

    #[test]
    fn files_add_up_while_they_are_fetched() {
        let fetching = Some(ImportPhase::Fetching);
        let meter = Meter::default();
        meter.fetching(fetch::Progress { received: 5, total: None });
        assert_eq!(read(&meter), (fetching, 5, None));
        meter.file_done(10);
        meter.fetching(fetch::Progress { received: 3, total: Some(20) });
        assert_eq!(read(&meter), (fetching, 13, Some(30)));
        meter.expect([Some(10), Some(20), Some(70)].into_iter());
        assert_eq!(read(&meter), (fetching, 13, Some(100)), "what is to come counts where it is known");
        meter.expect([Some(10), None].into_iter());
        assert_eq!(read(&meter), (fetching, 13, Some(30)));
        assert_eq!(rate(3_000, Duration::from_millis(1500)), 2_000);
    }

    #[test]
    fn another_step_counts_its_own_bytes() {
        let meter = Meter::default();
        meter.file_done(1_000);
        meter.step(ImportPhase::Merging, 7, Some(50));
        assert_eq!(read(&meter), (Some(ImportPhase::Merging), 7, Some(50)));
        let merging = meter.read();
        meter.step(ImportPhase::Storing, 4, Some(50));
        assert_eq!(since(&merging, &meter.read()), 4);
        let storing = meter.read();
        meter.step(ImportPhase::Storing, 10, Some(50));
        assert_eq!(since(&storing, &meter.read()), 6);
        assert_eq!(since(&meter.read(), &storing), 4, "the next file of the same phase");
    }
}
