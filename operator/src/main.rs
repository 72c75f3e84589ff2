//! `easel-operator`: reads its flags, starts the log and the runtime, and runs. All else is in the library.

use clap::Parser;
use easel_operator::config::Config;
use easel_operator::run;

/// Two threads: reconciles wait for the API server most of the time.
const THREADS: usize = 2;

fn main() -> anyhow::Result<()> {
    let config = Config::parse();
    run::init_log(&config)?;
    // One provider for the whole process; a second installation would only be refused.
    rustls::crypto::ring::default_provider().install_default().ok();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(THREADS).enable_all().build()?;
    let result = runtime.block_on(run::run(config));
    // What is still blocked must not hold up the end.
    runtime.shutdown_background();
    result
}
