//! How much an archive may be.

/// What an archive may hold.
#[derive(Debug, Clone)]
pub struct UnpackBounds {
    /// Bytes of one unpacked file, and of all entries together, also of those that are left out.
    pub max_bytes: u64,
    /// Entries of any kind. Reading one takes microseconds; a million takes the import its time.
    pub max_entries: usize,
    /// Files that are kept. A diffusers folder has about twenty.
    pub max_files: usize,
    /// Unpacked bytes per packed byte. Weights shrink by a tenth; deflate's limit is 1032.
    pub max_ratio: u64,
    /// Up to here the ratio does not matter: a configuration of blanks is no bomb.
    pub free_bytes: u64,
}

impl UnpackBounds {
    /// The bounds for at most `max_bytes` unpacked.
    pub fn new(max_bytes: u64) -> Self {
        Self { max_bytes, max_entries: 10_000, max_files: 64, max_ratio: 100, free_bytes: 64 << 20 }
    }
}
