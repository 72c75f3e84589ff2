//! From the command line to an exit status.

use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use clap::Parser;
use easel_protocol::FailureReport;
use easel_protocol::import::ImportResult;

use super::args::{Cli, Command};
use super::{convert, generate, inspect, jobs, logging, merge, train};
use crate::engine::{DiffusionEngine, memory_limit_bytes, size_thread_pool};
use crate::import::{ImportConfig, import};
use crate::worker::{ServeConfig, Shutdown, serve};
use crate::{net, termination};

/// The whole program.
pub fn main() -> ExitCode {
    let cli = Cli::parse();
    if let Err(error) = logging::install(&cli.logging) {
        eprintln!("error: --log \"{}\" is not a filter: {error}", cli.logging.filter);
        return ExitCode::from(2);
    }
    net::install_tls();
    let failed = |result: Result<(), FailureReport>| result.map_err(|report| report.exit_code());
    let result = match cli.command {
        Command::Serve(config) => failed(run_serve(*config)),
        Command::Import(config) => failed(run_import(&config)),
        Command::RunTraining(config) => jobs::training(&config),
        Command::CheckDataset(config) => jobs::dataset_check(&config),
        Command::Generate(args) => failed(told(generate::run(&args))),
        Command::Train(args) => failed(told(train::run(&args))),
        Command::Inspect(args) => failed(told(inspect::run(&args))),
        Command::Merge(args) => failed(told(merge::run(&args))),
        Command::Convert(args) => failed(told(convert::run(&args))),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(code) => exit_code(code),
    }
}

/// Commands for people say what failed where people look.
fn told(result: Result<(), FailureReport>) -> Result<(), FailureReport> {
    result.inspect_err(|report| eprintln!("error: {} ({})", report.message, report.reason))
}

fn exit_code(code: i32) -> ExitCode {
    ExitCode::from(u8::try_from(code).unwrap_or(1))
}

/// Two threads for the network; the CPUs belong to the engine.
pub(super) fn async_runtime() -> Result<tokio::runtime::Runtime, FailureReport> {
    let built = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    built.map_err(|error| FailureReport::new("RuntimeFailed", error.to_string(), true))
}

fn run_serve(config: ServeConfig) -> Result<(), FailureReport> {
    let termination_log = config.termination_log.clone();
    let result = async_runtime().and_then(|runtime| {
        let threads = size_thread_pool(config.threads)
            .map_err(|error| FailureReport::new("ThreadPoolFailed", error.to_string(), true))?;
        tracing::info!(threads, "engine threads");
        let engine = Arc::new(DiffusionEngine { memory_limit_bytes: memory_limit_bytes() });
        let shutdown = Shutdown::new();
        let grace = Duration::from_secs(config.grace_seconds);
        let result = runtime.block_on(async {
            let signals = tokio::spawn(shutdown.clone().on_signals(grace));
            let result = serve(config, engine, shutdown).await;
            signals.abort();
            result
        });
        // An engine that hangs keeps its thread; waiting for it would hang the process as well.
        runtime.shutdown_background();
        result
    });
    result.inspect_err(|report| leave_failure(&termination_log, report))
}

fn leave_failure(path: &Path, report: &FailureReport) {
    tracing::error!(
        reason = report.reason,
        retriable = report.retriable,
        error = report.message,
        "worker ends"
    );
    if let Err(error) = termination::write_failure(path, report) {
        tracing::error!(path = %path.display(), %error, "cannot write the termination message");
    }
}

fn run_import(config: &ImportConfig) -> Result<(), FailureReport> {
    let imported = async_runtime().map(|runtime| runtime.block_on(import_or_stop(config)));
    let result = match imported {
        Ok(Ok(model)) => ImportResult::Succeeded(model),
        Ok(Err(error)) => ImportResult::Failed(error),
        Err(report) => ImportResult::Failed(report),
    };
    if let Err(error) = termination::write_import(&config.termination_log, &result) {
        // Without its result the import did not happen, as far as the operator can tell.
        tracing::error!(path = %config.termination_log.display(), %error, "cannot write the result");
        return Err(FailureReport::new("TerminationLogFailed", error.to_string(), true));
    }
    match result {
        ImportResult::Succeeded(_) => Ok(()),
        ImportResult::Failed(report) => {
            tracing::error!(
                reason = report.reason,
                retriable = report.retriable,
                error = report.message,
                "import failed"
            );
            Err(report)
        }
    }
}

/// The import, or, when the pod is told to go, a retriable failure.
async fn import_or_stop(
    config: &ImportConfig,
) -> Result<easel_protocol::import::ImportedModel, FailureReport> {
    let told_to_stop = Shutdown::new();
    let signals = tokio::spawn(told_to_stop.clone().on_signals(Duration::ZERO));
    let result = tokio::select! {
        result = import(config) => result.map_err(|error| error.report()),
        () = told_to_stop.drained() => {
            Err(FailureReport::new("Interrupted", "the import was told to stop before it was done", true))
        }
    };
    signals.abort();
    result
}
