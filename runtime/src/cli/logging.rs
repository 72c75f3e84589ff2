//! Where log lines go and how they look: standard error, text or JSON.

use std::io::IsTerminal;

use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::ParseError;

use super::args::{LogFormat, Logging};

/// Sets the log up for the rest of the process.
///
/// # Errors
/// The filter is not one.
pub(super) fn install(logging: &Logging) -> Result<(), ParseError> {
    let filter = EnvFilter::try_new(&logging.filter)?;
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    match logging.log_format {
        LogFormat::Json => builder.json().flatten_event(true).init(),
        LogFormat::Text => builder.with_ansi(std::io::stderr().is_terminal()).init(),
    }
    Ok(())
}
