//! One way to transfer a large file over HTTP: resumable, bounded in size and silence, hashed while it arrives.
//! Where the bytes come from is a [`Source`]. [`fetch`] takes them in order into a [`Receiver`]; [`fetch_file`] takes
//! them in parts, over several connections, into a file that a later process can continue.

mod error;
mod file;
mod hasher;
mod ledger;
mod ranged;
mod receiver;
mod room;
mod source;
mod transfer;

pub use error::FetchError;
pub use file::{PartFile, fetch_file};
pub use receiver::{Received, Receiver};
pub use room::free_bytes;
pub use source::{GuardedSource, Opened, PlainSource, Source, Span};
pub use transfer::{CONNECTIONS, FetchPolicy, PART_BYTES, Progress, fetch};
