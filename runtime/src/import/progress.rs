//! Tells the facade how far an import is, at most every two seconds, and never in the way of the import.

use std::convert::Infallible;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use easel_protocol::import::ImportProgress;
use tokio::time::{Instant, MissedTickBehavior, interval_at};

use crate::error::chain;
use crate::facade::Facade;
use crate::fetch;

const PERIOD: Duration = Duration::from_secs(2);

/// Bytes over all files of the import; written by the transfer.
#[derive(Debug, Default)]
pub(super) struct Meter {
    /// Of the files before the present one.
    finished: AtomicU64,
    current: AtomicU64,
    /// Of the present file; 0 while it is not known.
    total: AtomicU64,
    /// Of all files, where their origin announced it; else 0.
    announced: AtomicU64,
}

impl Meter {
    /// Sizes of all files, as their origin announces them. With one unknown the sum is unknown.
    pub(super) fn expect(&self, mut sizes: impl Iterator<Item = Option<u64>>) {
        let sum = sizes.try_fold(0_u64, |sum, size| sum.checked_add(size?));
        self.announced.store(sum.unwrap_or(0), Ordering::Relaxed);
    }

    pub(super) fn update(&self, progress: fetch::Progress) {
        self.current.store(progress.received, Ordering::Relaxed);
        self.total.store(progress.total.unwrap_or(0), Ordering::Relaxed);
    }

    pub(super) fn file_done(&self, size: u64) {
        self.finished.fetch_add(size, Ordering::Relaxed);
        self.current.store(0, Ordering::Relaxed);
        self.total.store(0, Ordering::Relaxed);
    }

    fn read(&self) -> (u64, Option<u64>) {
        let finished = self.finished.load(Ordering::Relaxed);
        let total = self.total.load(Ordering::Relaxed);
        let announced = self.announced.load(Ordering::Relaxed);
        let done = finished + self.current.load(Ordering::Relaxed);
        let known = if total > 0 { finished + total } else { 0 };
        let all = known.max(announced);
        (done, (all > 0).then_some(all.max(done)))
    }
}

/// Sends what the meter shows, until dropped. A failed call is not repeated: the next one says more.
pub(super) async fn report(facade: &Facade, meter: &Meter) -> Infallible {
    let mut ticks = interval_at(Instant::now() + PERIOD, PERIOD);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let (mut last_done, mut last_time) = (0, Instant::now());
    loop {
        let now = ticks.tick().await;
        let (bytes_done, bytes_total) = meter.read();
        let bytes_per_second = rate(bytes_done.saturating_sub(last_done), now - last_time);
        (last_done, last_time) = (bytes_done, now);
        let progress = ImportProgress { bytes_done, bytes_total, bytes_per_second };
        if let Err(error) = facade.import_progress(&progress).await {
            tracing::debug!(error = %chain(&error), "progress was not told");
        }
    }
}

fn rate(bytes: u64, time: Duration) -> u64 {
    let millis = u64::try_from(time.as_millis()).unwrap_or(u64::MAX).max(1);
    bytes.saturating_mul(1000) / millis
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_add_up() {
        let meter = Meter::default();
        meter.update(fetch::Progress { received: 5, total: None });
        assert_eq!(meter.read(), (5, None));
        meter.file_done(10);
        meter.update(fetch::Progress { received: 3, total: Some(20) });
        assert_eq!(meter.read(), (13, Some(30)));
        meter.expect([Some(10), Some(20), Some(70)].into_iter());
        assert_eq!(meter.read(), (13, Some(100)), "what is to come counts where it is known");
        meter.expect([Some(10), None].into_iter());
        assert_eq!(meter.read(), (13, Some(30)));
        assert_eq!(rate(3_000, Duration::from_millis(1500)), 2_000);
    }
}
