//! How much a volume still takes.

use std::path::Path;

/// Bytes that this user may still write to the file system of `path`.
///
/// # Errors
/// The path does not exist or cannot be read.
pub fn free_bytes(path: &Path) -> std::io::Result<u64> {
    let stat = rustix::fs::statvfs(path)?;
    Ok(stat.f_bavail.saturating_mul(stat.f_frsize))
}
