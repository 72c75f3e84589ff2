//! A weight file mapped into memory.

#![allow(
    unsafe_code,
    reason = "mapping a file into memory is unsafe by nature; this file is the crate's only such place"
)]

use std::fs::File;
use std::io;

use memmap2::Mmap;

/// Read-only bytes of a file.
///
/// The mapping is held only while a model is being loaded: tensors are copied out of it and it is
/// dropped ([`super::Weights::close_files`]), so a file that is replaced later cannot change or end a running job.
#[derive(Debug)]
pub(crate) struct MappedFile(Mmap);

impl MappedFile {
    pub(crate) fn open(file: &File) -> io::Result<Self> {
        // SAFETY: the map is read-only and private to this process. What `Mmap::map` cannot rule out is
        // another process that writes to or truncates the file meanwhile. Readers here are immune to
        // changed bytes, for every slice is only ever read as plain numbers, of which all bit patterns
        // are valid, and bounds come from the checked header, never from the mapped bytes. Truncation
        // would end the process with SIGBUS; model files are renamed into place whole and never
        // rewritten by the code that fetches them, and the map lives for the seconds of one load.
        let map = unsafe { Mmap::map(file)? };
        Ok(Self(map))
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        &self.0
    }
}
