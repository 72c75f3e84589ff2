//! One way to transfer a large file over HTTP: resumable, bounded in size and silence, hashed while it arrives.
//! Where the bytes come from is a [`Source`]; where they go is a [`Receiver`].

mod error;
mod receiver;
mod room;
mod source;
mod transfer;

pub use error::FetchError;
pub use receiver::{Received, Receiver};
pub use room::free_bytes;
pub use source::{GuardedSource, Opened, PlainSource, Source};
pub use transfer::{FetchPolicy, Progress, fetch};
