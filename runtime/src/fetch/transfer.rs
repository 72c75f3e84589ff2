//! The transfer over one connection: open, read, and open again where it broke.

use std::path::PathBuf;
use std::time::Duration;

use futures::StreamExt;
use http::HeaderValue;
use tokio::time::{sleep, timeout};

use super::error::FetchError;
use super::receiver::Receiver;
use super::room::free_bytes;
use super::source::{Opened, Source, Span};
use crate::backoff::Backoff;

/// See [`FetchPolicy::connections`].
pub const CONNECTIONS: usize = 4;
/// See [`FetchPolicy::part_bytes`].
pub const PART_BYTES: u64 = 16 << 20;

/// Bounds of a transfer.
#[derive(Debug, Clone)]
pub struct FetchPolicy {
    /// A connection that sends nothing for so long is given up. Below a few seconds, slow disks at the other end
    /// look like faults; above a minute, a dead one costs the import its time.
    pub stall: Duration,
    pub max_bytes: u64,
    /// The file's exact size, where it is known beforehand.
    pub expected_bytes: Option<u64>,
    /// Repetitions in a row that bring no new byte before the transfer fails.
    pub fruitless_retries: u32,
    pub backoff: Backoff,
    /// The bytes are checked against a known hash afterwards, so a transfer may be continued although the
    /// server offers nothing to tell one version of the file from another.
    pub hash_known: bool,
    /// Directory whose free space the file must fit in.
    pub room: Option<PathBuf>,
    /// Connections at a time, where the server can be asked for parts. Above some eight, hubs answer 429.
    pub connections: usize,
    /// Bytes that one request asks for. A kill costs so much per connection; far less than some megabytes, and a
    /// distant server's answers spend their time on the way.
    pub part_bytes: u64,
}

impl FetchPolicy {
    /// The bounds for a file of at most `max_bytes`.
    pub fn new(max_bytes: u64) -> Self {
        Self {
            stall: Duration::from_secs(30),
            max_bytes,
            expected_bytes: None,
            fruitless_retries: 5,
            backoff: Backoff::new(Duration::from_millis(500), Duration::from_secs(15)),
            hash_known: false,
            room: None,
            connections: CONNECTIONS,
            part_bytes: PART_BYTES,
        }
    }
}

/// How far a transfer is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress {
    pub received: u64,
    pub total: Option<u64>,
}

/// Transfers the file of `source` to `receiver`, from where the receiver stands.
///
/// # Errors
/// The last fault, when [`FetchPolicy::fruitless_retries`] repetitions in a row brought nothing new; any fault at once
/// that another try cannot mend.
pub async fn fetch(
    source: &impl Source,
    receiver: &mut Receiver,
    policy: &FetchPolicy,
    on_progress: &mut (dyn FnMut(Progress) + Send),
) -> Result<(), FetchError> {
    fetch_from(source, receiver, policy, None, on_progress).await
}

/// As [`fetch`], with an answer that is there already: the whole file's, for a receiver that has nothing.
pub(super) async fn fetch_from(
    source: &impl Source,
    receiver: &mut Receiver,
    policy: &FetchPolicy,
    mut answer: Option<Opened>,
    on_progress: &mut (dyn FnMut(Progress) + Send),
) -> Result<(), FetchError> {
    let mut backoff = policy.backoff.clone();
    let mut validator: Option<HeaderValue> = None;
    // A server that ignores ranges starts from 0 each time: only what goes beyond the best try is new.
    let mut best = receiver.len();
    loop {
        let result = attempt(source, receiver, policy, &mut validator, answer.take(), on_progress).await;
        let error = match result {
            Ok(()) => return Ok(()),
            Err(error) if !error.in_transit() => return Err(error),
            Err(error) => error,
        };
        if receiver.len() > best {
            best = receiver.len();
            backoff.reset();
        }
        if backoff.tries() >= policy.fruitless_retries {
            return Err(error);
        }
        tracing::warn!(
            error = %crate::error::chain(&error), received = receiver.len(), "the transfer broke; trying again"
        );
        sleep(backoff.next_delay()).await;
    }
}

async fn attempt(
    source: &impl Source,
    receiver: &mut Receiver,
    policy: &FetchPolicy,
    validator: &mut Option<HeaderValue>,
    answer: Option<Opened>,
    on_progress: &mut (dyn FnMut(Progress) + Send),
) -> Result<(), FetchError> {
    if !policy.hash_known && validator.is_none() {
        receiver.restart().await?;
    }
    let stalled = |received| FetchError::Stalled { url: source.name(), silence: policy.stall, received };
    let opened = match answer {
        Some(opened) => opened,
        None => {
            let asked = source.open(Span::after(receiver.len()), validator.as_ref());
            let opened = timeout(policy.stall, asked).await.map_err(|_| stalled(receiver.len()))?;
            let opened = opened.and_then(|opened| same_version(source, opened, validator.as_ref()));
            if matches!(opened, Err(FetchError::WrongRange { .. })) {
                *validator = None;
                receiver.restart().await?;
            }
            opened?
        }
    };
    if opened.start != receiver.len() {
        receiver.restart().await?;
    }
    *validator = opened.validator.clone();
    check_size(source, opened.total, receiver.len(), policy)?;
    let total = opened.total.or(policy.expected_bytes);
    let mut body = opened.body;
    loop {
        on_progress(Progress { received: receiver.len(), total });
        let next = timeout(policy.stall, body.next()).await.map_err(|_| stalled(receiver.len()))?;
        let Some(chunk) = next else { break };
        let chunk = chunk.map_err(|error| FetchError::Broken {
            url: source.name(),
            received: receiver.len(),
            source: error.without_url(),
        })?;
        let size = receiver.len() + chunk.len() as u64;
        if size > policy.max_bytes {
            return Err(FetchError::TooLarge { url: source.name(), size, limit: policy.max_bytes });
        }
        receiver.write(&chunk).await?;
    }
    match total {
        Some(expected) if receiver.len() < expected => {
            Err(FetchError::Truncated { url: source.name(), received: receiver.len(), expected })
        }
        _ => Ok(()),
    }
}

/// A part of another version than the one asked for, from a server that does not heed `If-Range`, continues nothing.
fn same_version(
    source: &impl Source,
    opened: Opened,
    validator: Option<&HeaderValue>,
) -> Result<Opened, FetchError> {
    let other = opened.start > 0 && validator.is_some() && opened.validator.as_ref() != validator;
    if other && opened.validator.is_some() {
        return Err(FetchError::WrongRange { url: source.name(), asked: opened.start });
    }
    Ok(opened)
}

/// Refuses a file that is announced too large before its first byte is written. `here`: bytes that are on the disk.
pub(super) fn check_size(
    source: &impl Source,
    total: Option<u64>,
    here: u64,
    policy: &FetchPolicy,
) -> Result<(), FetchError> {
    let Some(size) = total.or(policy.expected_bytes) else { return Ok(()) };
    if size > policy.max_bytes {
        return Err(FetchError::TooLarge { url: source.name(), size, limit: policy.max_bytes });
    }
    let Some(directory) = &policy.room else { return Ok(()) };
    let free =
        free_bytes(directory).map_err(|source| FetchError::Write { path: directory.clone(), source })?;
    let need = size.saturating_sub(here);
    if need > free {
        return Err(FetchError::NoRoom { url: source.name(), need, free });
    }
    Ok(())
}
