//! Forgets workers that went silent, and keeps `status.models` of every Endpoint in line with what workers say.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use tokio::time::{MissedTickBehavior, interval, sleep};

use crate::app::App;
use crate::worker_api::publish_all;

const EVERY: Duration = Duration::from_secs(30);

/// Three signs of life that did not come.
pub const SILENCE: SignedDuration = SignedDuration::from_secs(90);

/// Looks every thirty seconds, from that silence after the start on: workers could not speak while we were away.
pub async fn follow_models(app: App) {
    tokio::select! {
        () = sleep(SILENCE.unsigned_abs()) => {}
        () = app.shutdown.cancelled() => return,
    }
    let mut ticks = interval(EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    while app.shutdown.run_until_cancelled(ticks.tick()).await.is_some() {
        sweep_models(&app, Timestamp::now()).await;
    }
}

/// One look.
pub async fn sweep_models(app: &App, now: Timestamp) {
    if !app.directory.objects_known() {
        return;
    }
    match app.jobs.forget_models(now - SILENCE).await {
        Ok(0) => {}
        Ok(workers) => tracing::info!(workers, "forgot what silent workers held"),
        Err(error) => {
            tracing::error!(error = &error as &dyn std::error::Error, "cannot forget silent workers");
            return;
        }
    }
    if let Err(error) = publish_all(app).await {
        tracing::warn!(error = &error as &dyn std::error::Error, "cannot write which models workers hold");
    }
}
