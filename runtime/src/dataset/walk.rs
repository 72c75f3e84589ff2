//! Every picture of a Dataset, page after page, several at a time.

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::time::Duration;

use easel_diffusion::train::data::MAX_FILE_BYTES;
use easel_protocol::dataset::{Item, ItemsPage, ItemsRequest};
use futures::{StreamExt, stream};
use tokio::time::sleep;
use url::Url;

use super::error::PicturesError;
use crate::backoff::Backoff;
use crate::error::chain;
use crate::facade::{CallError, Facade};
use crate::fetch::{FetchError, FetchPolicy, PlainSource, Received, Receiver, fetch};
use crate::import::Patience;

/// Most pictures of a Dataset: what the engine takes from a folder.
const MAX_PICTURES: u64 = 100_000;
/// Pictures under way: one hides the other's round trip; of each the working directory has at most 64 MiB.
const CONCURRENT: usize = 4;
/// Times in a row that a page's pictures are asked for with fresh addresses and not one comes.
const FRUITLESS_ROUNDS: u32 = 4;
/// A facade that restarts is back in seconds; one that moves to another node, in a minute or two.
const PATIENCE: Patience = Patience(Duration::from_secs(180));
/// The facade may not have seen the Dataset yet that somebody asks for.
const FIRST_PATIENCE: Patience = Patience(Duration::from_secs(30));

/// The pictures of one Dataset.
pub(crate) struct Pictures<'a> {
    pub(crate) facade: &'a Facade,
    pub(crate) http: &'a reqwest::Client,
    /// Its name.
    pub(crate) dataset: &'a str,
    /// Where they are put, each under its number.
    pub(crate) folder: &'a Path,
}

/// What came of asking for a picture.
#[derive(Debug)]
pub(crate) enum Fetched {
    File {
        path: PathBuf,
        received: Received,
    },
    /// It is not in the object store.
    Missing,
    /// It has this many bytes, which is more than training reads.
    TooLarge {
        size: u64,
    },
}

/// Why a round ends.
enum Stop<E> {
    Fetch(PicturesError),
    Visit(E),
}

impl Pictures<'_> {
    /// Calls `visit` once with each picture, in no order; with `None` for a disabled one, which is not fetched. A call
    /// that was cancelled comes again.
    ///
    /// # Errors
    /// The list or a picture cannot be had after many tries; or what `visit` says, at once.
    pub(crate) async fn walk<E: From<PicturesError>>(
        &self,
        visit: impl AsyncFn(&Item, Option<Fetched>) -> Result<(), E>,
    ) -> Result<(), E> {
        let mut offset = 0;
        loop {
            let page = self.page(offset).await?;
            let total = page.total;
            if total > MAX_PICTURES {
                let dataset = self.dataset.to_owned();
                return Err(PicturesError::TooMany { dataset, total, limit: MAX_PICTURES }.into());
            }
            let count = page.items.len() as u64;
            if offset >= total {
                return Ok(());
            }
            if count == 0 {
                let dataset = self.dataset.to_owned();
                return Err(PicturesError::Incomplete { dataset, got: offset, total }.into());
            }
            self.visit_page(offset, page, &visit).await?;
            offset += count;
        }
    }

    async fn visit_page<E: From<PicturesError>>(
        &self,
        offset: u64,
        mut page: ItemsPage,
        visit: &impl AsyncFn(&Item, Option<Fetched>) -> Result<(), E>,
    ) -> Result<(), E> {
        let mut done: HashSet<String> = HashSet::new();
        let mut backoff = Backoff::new(Duration::from_secs(1), Duration::from_secs(30));
        loop {
            let before = done.len();
            let Err(error) = self.round(offset, &page.items, &mut done, visit).await else { return Ok(()) };
            let error = match error {
                Stop::Visit(error) => return Err(error),
                Stop::Fetch(error) => error,
            };
            if done.len() > before {
                backoff.reset();
            }
            let full_disk = matches!(error.reason(), "NoDiskSpace" | "DiskWriteFailed");
            if full_disk || backoff.tries() >= FRUITLESS_ROUNDS {
                return Err(error.into());
            }
            tracing::warn!(error = %chain(&error), "asking for the pictures again, with fresh addresses");
            sleep(backoff.next_delay()).await;
            page = self.page(offset).await?;
        }
    }

    async fn round<E>(
        &self,
        offset: u64,
        items: &[Item],
        done: &mut HashSet<String>,
        visit: &impl AsyncFn(&Item, Option<Fetched>) -> Result<(), E>,
    ) -> Result<(), Stop<E>> {
        let visits: Vec<_> = (offset..)
            .zip(items)
            .filter(|(_, item)| !done.contains(&item.name))
            .map(async |(number, item)| {
                let fetched = match item.enabled {
                    true => Some(self.fetch(number, item).await.map_err(Stop::Fetch)?),
                    false => None,
                };
                visit(item, fetched).await.map_err(Stop::Visit)?;
                Ok(item.name.clone())
            })
            .collect();
        let mut visits = stream::iter(visits).buffer_unordered(CONCURRENT);
        while let Some(visited) = visits.next().await {
            done.insert(visited?);
        }
        Ok(())
    }

    async fn page(&self, offset: u64) -> Result<ItemsPage, PicturesError> {
        let request = ItemsRequest { dataset: self.dataset.to_owned(), offset };
        let call = || self.facade.dataset_items(&request);
        let page = match offset {
            0 => FIRST_PATIENCE.repeat(call, not_yet).await,
            _ => PATIENCE.repeat(call, CallError::retriable).await,
        };
        page.map_err(|source| PicturesError::List { dataset: self.dataset.to_owned(), source })
    }

    async fn fetch(&self, number: u64, item: &Item) -> Result<Fetched, PicturesError> {
        let (dataset, name) = (self.dataset.to_owned(), item.name.clone());
        let url = match Url::parse(&item.url) {
            Ok(url) => url,
            Err(source) => return Err(PicturesError::BadUrl { dataset, item: name, source }),
        };
        let path = self.folder.join(format!("{number:06}.part"));
        let transferred = self.transfer(url, &path).await;
        let fetched = match transferred {
            Ok(received) => return Ok(Fetched::File { path, received }),
            Err(FetchError::Status { status, .. }) if status == http::StatusCode::NOT_FOUND => {
                Fetched::Missing
            }
            Err(FetchError::TooLarge { size, .. }) => Fetched::TooLarge { size },
            Err(source) => return Err(PicturesError::Fetch { dataset, item: name, source }),
        };
        // What was begun of it; a file that cannot be removed only takes room.
        let _ = tokio::fs::remove_file(&path).await;
        Ok(fetched)
    }

    async fn transfer(&self, url: Url, path: &Path) -> Result<Received, FetchError> {
        let source = PlainSource { http: self.http.clone(), url };
        let policy = FetchPolicy { room: Some(self.folder.to_owned()), ..FetchPolicy::new(MAX_FILE_BYTES) };
        let mut receiver = Receiver::empty_file(path).await?;
        fetch(&source, &mut receiver, &policy, &mut |_| {}).await?;
        receiver.finish().await
    }
}

fn not_yet(error: &CallError) -> bool {
    match error {
        CallError::Refused { .. } => true,
        CallError::Rejected { status, .. } => matches!(status.as_u16(), 403 | 404 | 409),
        other => other.retriable(),
    }
}

/// What a Dataset says of a picture's bytes and these bytes do not hold, as the end of a sentence.
pub(crate) fn differs(item: &Item, received: &Received) -> Option<String> {
    let Received { sha256, size_bytes } = received;
    match (&item.sha256, item.size_bytes) {
        (Some(asked), _) if !asked.eq_ignore_ascii_case(sha256) => {
            Some(format!("has sha256 {sha256}, the Dataset asks for {asked}"))
        }
        (_, Some(asked)) if asked != *size_bytes => {
            Some(format!("has {size_bytes} bytes, the Dataset asks for {asked}"))
        }
        _ => None,
    }
}
