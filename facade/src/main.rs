//! `easel-facade`: see the library.

use std::process::ExitCode;

use clap::Parser;
use easel_facade::config::Config;
use easel_facade::{install_crypto, logging, run};

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
    match runtime.block_on(run::run(config)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!(error = &error as &dyn std::error::Error, "the facade stopped");
            ExitCode::FAILURE
        }
    }
}
