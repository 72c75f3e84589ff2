//! An S3 service in the process, over a directory, for those who have no other.
//!
//! The protocol (signatures, XML, streaming) is s3s's. The files are kept here and not by s3s-fs, because of
//! what its version 0.14.1 does with them: an object's ETag and content type lie in files of their own beside
//! it, written after it and not removed with it; nothing is synced; completing an upload forgets it before
//! the object is there, so that a crash loses both; the names of those files are the whole key in base64, which
//! the file system refuses from about 130 bytes on; `a` and `a/b` cannot both exist; `..` in a key reaches
//! the files of other buckets; emptied directories stay; open uploads cannot be listed, so never expire.
//!
//! One directory belongs to one process at a time.

mod backend;
mod cors;
mod credentials;
mod files;
mod in_process;
mod listing;
mod service;
mod trailer;
mod uploads;

pub(super) use in_process::InProcess;
pub use service::{EmbeddedError, EmbeddedS3, S3Body};
