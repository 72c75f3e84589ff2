//! The plain client: facade and object store, whose addresses come from the operator and the facade.

use std::time::Duration;

/// Chooses the TLS implementation of the process. To be called before the first client is made; again is harmless.
pub fn install_tls() {
    // An error says that a provider is there already, which is what is wanted.
    let _ = rustls::crypto::ring::default_provider().install_default();
}

/// A client that follows no redirects and asks no proxy. Time-outs beyond connecting are set per call.
///
/// # Errors
/// TLS cannot be set up, for example because the system has no root certificates.
pub fn plain_client() -> reqwest::Result<reqwest::Client> {
    reqwest::Client::builder()
        .user_agent(USER_AGENT)
        .redirect(reqwest::redirect::Policy::none())
        .no_proxy()
        .connect_timeout(Duration::from_secs(5))
        // A node that vanished sends no reset; without this a long poll would wait for its whole time-out.
        .tcp_keepalive(Duration::from_secs(15))
        .build()
}

/// How Easel names itself to servers.
pub(super) const USER_AGENT: &str = concat!("easel-runtime/", env!("CARGO_PKG_VERSION"));
