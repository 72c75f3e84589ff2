//! A reader that counts, and that stops at a budget.

use std::cell::Cell;
use std::io::{self, Read, Seek, SeekFrom};
use std::rc::Rc;

/// What has been read through a [`Counted`] reader, and how much more may be.
#[derive(Debug, Clone)]
pub(super) struct Tally(Rc<Figures>);

#[derive(Debug)]
struct Figures {
    read: Cell<u64>,
    budget: Cell<u64>,
}

impl Tally {
    pub(super) fn new() -> Self {
        Self(Rc::new(Figures { read: Cell::new(0), budget: Cell::new(u64::MAX) }))
    }

    /// Bytes read so far.
    pub(super) fn read(&self) -> u64 {
        self.0.read.get()
    }

    /// Sets how many more bytes may be read.
    pub(super) fn allow(&self, bytes: u64) {
        self.0.budget.set(bytes);
    }
}

/// See the module.
#[derive(Debug)]
pub(super) struct Counted<R> {
    inner: R,
    tally: Tally,
}

impl<R> Counted<R> {
    pub(super) fn new(inner: R, tally: Tally) -> Self {
        Self { inner, tally }
    }
}

impl<R: Read> Read for Counted<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let Figures { read, budget } = &*self.tally.0;
        if budget.get() == 0 && !buffer.is_empty() {
            return Err(io::Error::other("the description of an entry has no end"));
        }
        let most = usize::try_from(budget.get()).unwrap_or(usize::MAX).min(buffer.len());
        let n = self.inner.read(&mut buffer[..most])?;
        read.set(read.get() + n as u64);
        if budget.get() < u64::MAX {
            budget.set(budget.get() - n as u64);
        }
        Ok(n)
    }
}

impl<R: Seek> Seek for Counted<R> {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        self.inner.seek(to)
    }
}
