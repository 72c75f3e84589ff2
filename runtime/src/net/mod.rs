//! HTTP clients: a plain one for addresses that Easel names itself, a guarded one for addresses that users name.

mod address;
mod client;
mod guarded;
mod redacted;

pub use address::{AddressPolicy, BadCidr};
pub use client::{install_tls, plain_client};
pub use guarded::{GuardError, GuardedClient, RequestError};
pub use redacted::RedactedUrl;
