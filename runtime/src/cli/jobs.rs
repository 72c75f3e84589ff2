//! What the Jobs of a cluster run: from settings to a termination message and an exit status.

use std::path::Path;
use std::time::Duration;

use easel_protocol::FailureReport;
use easel_protocol::dataset::CheckResult;
use easel_protocol::failure::{EXIT_RETRIABLE, EXIT_TERMINATED};
use easel_protocol::training::TrainResult;

use super::run::async_runtime;
use crate::dataset_check::{CheckConfig, check};
use crate::engine::size_thread_pool;
use crate::termination;
use crate::trainer::{Ended, TrainerConfig, run_training};
use crate::worker::Shutdown;

/// Trains, until told to stop.
///
/// # Errors
/// The exit status.
pub(super) fn training(config: &TrainerConfig) -> Result<(), i32> {
    let result = match trained(config) {
        Ok(Ended::Trained(file)) => TrainResult::Succeeded(file),
        Ok(Ended::Interrupted { step }) => TrainResult::Interrupted { step },
        Err(report) => TrainResult::Failed(report),
    };
    written(&config.termination_log, termination::write_training(&config.termination_log, &result))?;
    match result {
        TrainResult::Succeeded(_) => Ok(()),
        TrainResult::Interrupted { step } => {
            tracing::info!(step, "the training was told to stop; another pod goes on after this step");
            Err(EXIT_TERMINATED)
        }
        TrainResult::Failed(report) => Err(logged("training failed", &report)),
    }
}

fn trained(config: &TrainerConfig) -> Result<Ended, FailureReport> {
    let runtime = async_runtime()?;
    let threads = size_thread_pool(config.threads)
        .map_err(|error| FailureReport::new("ThreadPoolFailed", error.to_string(), true))?;
    tracing::info!(threads, "engine threads");
    let shutdown = Shutdown::new();
    let grace = Duration::from_secs(config.grace_seconds);
    let result = runtime.block_on(async {
        let signals = tokio::spawn(shutdown.clone().on_signals(grace));
        let result = run_training(config, &shutdown).await.map_err(|error| error.report());
        signals.abort();
        result
    });
    // A step that outlasts the grace keeps its thread; waiting for it would outlast the pod.
    runtime.shutdown_background();
    result
}

/// Looks at every picture, until told to stop.
///
/// # Errors
/// The exit status.
pub(super) fn dataset_check(config: &CheckConfig) -> Result<(), i32> {
    let checked = async_runtime().and_then(|runtime| {
        let result = runtime.block_on(checked_or_stopped(config));
        runtime.shutdown_background();
        result
    });
    let result = match checked {
        Ok(checked) => CheckResult::Checked(checked),
        Err(report) => CheckResult::Failed(report),
    };
    written(&config.termination_log, termination::write_check(&config.termination_log, &result))?;
    match result {
        CheckResult::Checked(_) => Ok(()),
        CheckResult::Failed(report) => Err(logged("check failed", &report)),
    }
}

async fn checked_or_stopped(
    config: &CheckConfig,
) -> Result<easel_protocol::dataset::CheckedDataset, FailureReport> {
    let told_to_stop = Shutdown::new();
    let signals = tokio::spawn(told_to_stop.clone().on_signals(Duration::ZERO));
    let result = tokio::select! {
        result = check(config) => result.map_err(|error| error.report()),
        () = told_to_stop.drained() => {
            Err(FailureReport::new("Interrupted", "the check was told to stop before it was done", true))
        }
    };
    signals.abort();
    result
}

/// Without its result the work did not happen, as far as the operator can tell.
fn written(path: &Path, result: std::io::Result<()>) -> Result<(), i32> {
    result.map_err(|error| {
        tracing::error!(path = %path.display(), %error, "cannot write the result");
        EXIT_RETRIABLE
    })
}

fn logged(what: &'static str, report: &FailureReport) -> i32 {
    tracing::error!(reason = report.reason, retriable = report.retriable, error = report.message, what);
    report.exit_code()
}
