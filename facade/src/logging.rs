//! The process' log: one JSON object (or line of text) per event on stderr. What may be logged is decided
//! where it is logged: never keys, tokens or the query strings of presigned URLs.

use tracing_subscriber::{EnvFilter, Registry, layer::SubscriberExt, util::SubscriberInitExt};

use crate::config::LogFormat;

/// A filter that does not parse.
#[derive(Debug, thiserror::Error)]
#[error("log filter {filter:?} does not parse")]
pub struct BadFilter {
    filter: String,
    source: tracing_subscriber::filter::ParseError,
}

/// Installs the log of the process.
///
/// # Errors
/// [`BadFilter`] when `filter` does not parse.
pub fn init(filter: &str, format: LogFormat) -> Result<(), BadFilter> {
    // Libraries' events can hold whole requests and stay out unless named. The last two call an error what a
    // caller did wrong, or what the watches report themselves.
    let quiet = "aws_=warn,hyper=warn,h2=warn,rustls=warn,sqlx=warn,s3s=off,kube_client=off";
    let parsed = EnvFilter::try_new(format!("{quiet},{filter}"))
        .map_err(|source| BadFilter { filter: filter.to_owned(), source })?;
    let registry = Registry::default().with(parsed);
    match format {
        LogFormat::Json => {
            let layer = tracing_subscriber::fmt::layer()
                .json()
                .flatten_event(true)
                .with_span_list(false)
                .with_writer(std::io::stderr);
            registry.with(layer).init();
        }
        LogFormat::Text => {
            registry.with(tracing_subscriber::fmt::layer().with_writer(std::io::stderr)).init();
        }
    }
    Ok(())
}
