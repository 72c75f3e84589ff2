//! Looks for bytes that no Model needs any more; see [`crate::collector`].

use std::time::Duration;

use jiff::Timestamp;
use tokio::time::{Instant, MissedTickBehavior, interval_at};

use crate::app::App;
use crate::collector::{Collector, Kind, Orphan, SweepError};
use crate::config::GcMode;

/// Time for the watches to fill and for what waited for the process to be done.
const FIRST: Duration = Duration::from_secs(60);

/// Looks again and again; never when it is switched off.
pub async fn collect_garbage(app: App) {
    let period = app.config.gc.period;
    if app.config.gc.mode == GcMode::Disabled {
        app.shutdown.cancelled().await;
        return;
    }
    let mut models_before = None;
    let mut ticks = interval_at(Instant::now() + FIRST.min(period), period);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let work = async {
        loop {
            ticks.tick().await;
            sweep_garbage(&app, &mut models_before, Timestamp::now()).await;
        }
    };
    app.shutdown.run_until_cancelled(work).await;
}

/// One look, told to log and metrics. `models_before` is kept between looks.
pub async fn sweep_garbage(app: &App, models_before: &mut Option<u64>, now: Timestamp) {
    let delete = app.config.gc.mode == GcMode::Delete;
    let namespaces = app.config.namespaces();
    let collector = Collector {
        objects: &*app.objects,
        jobs: &app.jobs,
        cluster: &*app.cluster,
        directory: Some(&app.directory),
        namespaces: &namespaces,
        config: &app.config.gc,
    };
    let mut show = |orphan: &Orphan| {
        if orphan.deleted {
            app.metrics.collected(orphan.kind.as_str(), orphan.size);
            tracing::info!(
                key = orphan.key,
                bytes = orphan.size,
                reason = orphan.kind.reason(),
                "an object is deleted"
            );
        }
    };
    match collector.sweep(delete, models_before, now, &mut show).await {
        Ok(figures) => {
            app.metrics.swept("done");
            for kind in Kind::ALL {
                let (objects, bytes) = figures.left.get(&kind).copied().unwrap_or_default();
                app.metrics.set_orphans(kind.as_str(), objects, bytes);
            }
            tracing::info!(
                left = ?figures.left,
                deleted = ?figures.deleted,
                unseen = figures.unseen,
                "looked for objects that no Model needs"
            );
        }
        Err(error) => {
            app.metrics.swept(error.reason());
            tell(&error);
        }
    }
}

fn tell(error: &SweepError) {
    let reason = error.reason();
    let error = error as &dyn std::error::Error;
    tracing::warn!(error, reason, "the look for objects that no Model needs was given up");
}
