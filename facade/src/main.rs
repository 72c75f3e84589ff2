//! `easel-facade`: see the library.

use std::process::ExitCode;

use clap::Parser;
use easel_facade::config::{Command, Config};
use easel_facade::{collector, install_crypto, logging, run};

fn main() -> ExitCode {
    let config = Config::parse();
    if let Err(error) = logging::init(&config.log, config.log_format) {
        eprintln!("{error}");
        return ExitCode::FAILURE;
    }
    install_crypto();
    let runtime = match tokio::runtime::Runtime::new() {
        Ok(runtime) => runtime,
        Err(error) => {
            tracing::error!(%error, "cannot start the runtime");
            return ExitCode::FAILURE;
        }
    };
    match config.command.clone() {
        Some(Command::Gc(asked)) => {
            ended(runtime.block_on(collector::collect_now(config, asked)), "gc failed")
        }
        None => ended(runtime.block_on(run::run(config)), "the facade stopped"),
    }
}

fn ended<E: std::error::Error + 'static>(outcome: Result<(), E>, failed: &str) -> ExitCode {
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!(error = &error as &dyn std::error::Error, "{failed}");
            ExitCode::FAILURE
        }
    }
}
