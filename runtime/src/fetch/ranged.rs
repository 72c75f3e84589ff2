//! Several connections at once, each fetching one part of the file after the other.
//!
//! A part is synced before it is recorded, so what the record calls whole is whole. A connection that the server
//! does not serve gives its part back and ends; the transfer fails when the last one does.

use std::collections::VecDeque;
use std::io::SeekFrom;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use futures::StreamExt;
use futures::stream::FuturesUnordered;
use http::HeaderValue;
use tokio::fs::{File, OpenOptions};
use tokio::io::{AsyncSeekExt, AsyncWriteExt};
use tokio::time::{sleep, timeout};

use super::error::FetchError;
use super::hasher::PrefixHasher;
use super::ledger::{Ledger, Version};
use super::receiver::Received;
use super::source::{Opened, Source, Span};
use super::transfer::{FetchPolicy, Progress, check_size};

/// A transfer in parts.
pub(super) struct Ranged<'a, S> {
    source: &'a S,
    path: &'a Path,
    policy: &'a FetchPolicy,
    version: Version,
    validator: Option<HeaderValue>,
    board: Mutex<Board>,
    ledger: tokio::sync::Mutex<Ledger>,
    /// Bytes of whole parts and of those under way.
    received: AtomicU64,
    /// A request for a part was answered with the same file from its start.
    ignored: AtomicBool,
    on_progress: Mutex<&'a mut (dyn FnMut(Progress) + Send)>,
}

/// Which parts are there.
struct Board {
    todo: VecDeque<usize>,
    whole: Vec<bool>,
    /// The first part that is not whole.
    frontier: usize,
    hasher: Option<PrefixHasher>,
}

impl<'a, S: Source> Ranged<'a, S> {
    pub(super) fn new(
        source: &'a S,
        path: &'a Path,
        policy: &'a FetchPolicy,
        ledger: Ledger,
        on_progress: &'a mut (dyn FnMut(Progress) + Send),
    ) -> Self {
        let version = ledger.version.clone();
        let whole = ledger.whole.clone();
        let size_of = |part| {
            let (begin, end) = version.bounds(part);
            end - begin
        };
        let received = (0..whole.len()).filter(|part| whole[*part]).map(size_of).sum();
        let todo = (0..whole.len()).filter(|part| !whole[*part]).collect();
        let hasher = Some(PrefixHasher::start(path));
        let mut board = Board { todo, whole, frontier: 0, hasher };
        board.advance(&version);
        Self {
            source,
            path,
            policy,
            validator: version.validator(),
            version,
            board: Mutex::new(board),
            ledger: tokio::sync::Mutex::new(ledger),
            received: AtomicU64::new(received),
            ignored: AtomicBool::new(false),
            on_progress: Mutex::new(on_progress),
        }
    }

    /// Fetches what is not there. `first` is an answer with the whole file; its beginning is taken.
    pub(super) async fn run(&self, first: Option<Opened>) -> Result<Received, FetchError> {
        let size = self.version.size;
        check_size(self.source, Some(size), self.received.load(Ordering::Relaxed), self.policy)?;
        self.tell();
        let mut first = first;
        if first.is_some() {
            // Part 0 is the first connection's, whichever is polled first.
            self.board().todo.pop_front();
        } else if self.board().todo.is_empty() && !self.policy.hash_known {
            self.ask(Span { from: size - 1, to: Some(size) }).await?;
        }
        let mut connections: FuturesUnordered<_> =
            (0..self.policy.connections.max(1)).map(|_| self.connection(first.take())).collect();
        let mut last_error = None;
        while let Some(ended) = connections.next().await {
            match ended {
                Ok(()) => {}
                // Whichever connection says it: parts are not to be had here.
                Err(_) if self.ignored.load(Ordering::Relaxed) => {
                    return Err(FetchError::WrongRange { url: self.source.name(), asked: 0 });
                }
                Err(error) if error.in_transit() && !connections.is_empty() => {
                    tracing::warn!(error = %crate::error::chain(&error), "one connection less");
                    last_error = Some(error);
                }
                Err(error) => return Err(error),
            }
        }
        drop(connections);
        let hasher = {
            let mut board = self.board();
            if let (false, Some(error)) = (board.todo.is_empty(), last_error) {
                return Err(error);
            }
            board.hasher.take()
        };
        let sha256 = hasher.expect("it is taken once, here").finish().await;
        Ok(Received { sha256: sha256.map_err(|source| self.unusable(source))?, size_bytes: size })
    }

    async fn connection(&self, first: Option<Opened>) -> Result<(), FetchError> {
        if let Some(answer) = first {
            self.part(0, Some(answer)).await?;
        }
        loop {
            // Not in the loop's head: the lock would be held while the part is fetched.
            let next = self.board().todo.pop_front();
            let Some(part) = next else { return Ok(()) };
            self.part(part, None).await?;
        }
    }

    /// One part, to the record. A failure gives it back.
    async fn part(&self, part: usize, mut answer: Option<Opened>) -> Result<(), FetchError> {
        let (begin, end) = self.version.bounds(part);
        let opened = async {
            let mut file = OpenOptions::new().write(true).open(self.path).await?;
            file.seek(SeekFrom::Start(begin)).await?;
            Ok(file)
        };
        let mut file = opened.await.map_err(|source| self.unusable(source))?;
        let mut backoff = self.policy.backoff.clone();
        let mut at = begin;
        loop {
            let before = at;
            let error = match self.read(&mut file, &mut at, end, answer.take()).await {
                Ok(()) => break,
                Err(error) => error,
            };
            if at > before {
                backoff.reset();
            }
            let lasting = !error.in_transit() || self.ignored.load(Ordering::Relaxed);
            if lasting || backoff.tries() >= self.policy.fruitless_retries {
                self.received.fetch_sub(at - begin, Ordering::Relaxed);
                self.board().todo.push_front(part);
                return Err(error);
            }
            tracing::warn!(error = %crate::error::chain(&error), part, "a part broke; trying again");
            sleep(backoff.next_delay()).await;
        }
        let recorded = async {
            file.flush().await?;
            file.sync_data().await?;
            self.ledger.lock().await.record(part).await
        };
        recorded.await.map_err(|source| self.unusable(source))?;
        let mut board = self.board();
        board.whole[part] = true;
        board.advance(&self.version);
        Ok(())
    }

    /// Reads from `at` up to `end`; `at` moves along.
    async fn read(
        &self,
        file: &mut File,
        at: &mut u64,
        end: u64,
        answer: Option<Opened>,
    ) -> Result<(), FetchError> {
        let url = || self.source.name();
        let mut body = match answer {
            Some(answer) => answer.body,
            None => self.ask(Span { from: *at, to: Some(end) }).await?.body,
        };
        while *at < end {
            let (silence, received) = (self.policy.stall, *at);
            let next = timeout(silence, body.next()).await;
            let chunk = match next.map_err(|_| FetchError::Stalled { url: url(), silence, received })? {
                Some(Ok(chunk)) => chunk,
                Some(Err(error)) => {
                    return Err(FetchError::Broken { url: url(), received, source: error.without_url() });
                }
                None => return Err(FetchError::Truncated { url: url(), received, expected: end }),
            };
            // The first answer goes on to the file's end; others were asked for this part only.
            let wanted = usize::try_from(end - *at).unwrap_or(usize::MAX).min(chunk.len());
            file.write_all(&chunk[..wanted]).await.map_err(|source| self.unusable(source))?;
            *at += wanted as u64;
            self.received.fetch_add(wanted as u64, Ordering::Relaxed);
            self.tell();
        }
        Ok(())
    }

    /// Asks for a part of this version of the file.
    async fn ask(&self, span: Span) -> Result<Opened, FetchError> {
        let url = || self.source.name();
        let silence = self.policy.stall;
        let opened = timeout(silence, self.source.open(span, self.validator.as_ref())).await;
        let opened =
            opened.map_err(|_| FetchError::Stalled { url: url(), silence, received: span.from })??;
        let other = match (&self.validator, &opened.validator) {
            (Some(known), Some(told)) => known != told,
            _ => false,
        };
        if other || opened.total.is_some_and(|total| total != self.version.size) {
            return Err(FetchError::Changed { url: url() });
        }
        if opened.start != span.from {
            self.ignored.store(true, Ordering::Relaxed);
            return Err(FetchError::WrongRange { url: url(), asked: span.from });
        }
        Ok(opened)
    }

    fn tell(&self) {
        let received = self.received.load(Ordering::Relaxed);
        let mut on_progress = self.on_progress.lock().unwrap_or_else(PoisonError::into_inner);
        on_progress(Progress { received, total: Some(self.version.size) });
    }

    fn board(&self) -> MutexGuard<'_, Board> {
        // Every change is one that cannot stop half-way.
        self.board.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn unusable(&self, source: std::io::Error) -> FetchError {
        FetchError::Write { path: self.path.to_owned(), source }
    }
}

impl Board {
    /// Lets the hasher go on to the first part that is not whole.
    fn advance(&mut self, version: &Version) {
        let before = self.frontier;
        while self.whole.get(self.frontier) == Some(&true) {
            self.frontier += 1;
        }
        if let (true, Some(hasher)) = (self.frontier > before, &self.hasher) {
            hasher.whole_to(version.bounds(self.frontier - 1).1);
        }
    }
}
