//! Removes what uploads that were never completed have left in the object store.

use std::time::Duration;

use easel_store::objects;
use jiff::{SignedDuration, Timestamp};
use tokio::time::{MissedTickBehavior, interval};

use crate::app::App;

const EVERY: Duration = Duration::from_secs(3600);
/// Longer than any URL for a part is good.
const STALE_AFTER: SignedDuration = SignedDuration::from_hours(48);

/// Looks every hour, first at the start.
pub async fn abort_stale(app: App) {
    let mut ticks = interval(EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    while app.shutdown.run_until_cancelled(ticks.tick()).await.is_some() {
        let before = Timestamp::now() - STALE_AFTER;
        match objects::abort_stale_uploads(&*app.objects, before).await {
            Ok(0) => {}
            Ok(aborted) => tracing::info!(aborted, "uploads that were never completed are removed"),
            Err(error) => {
                tracing::warn!(error = &error as &dyn std::error::Error, "cannot remove stale uploads");
            }
        }
    }
}
