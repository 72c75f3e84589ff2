//! The check from the list to the result.

use std::cell::{Cell, RefCell};
use std::time::Duration;

use easel_protocol::dataset::{CheckedDataset, Item, ReportLine, ReportRequest};
use tokio::time::sleep;

use super::config::CheckConfig;
use super::error::CheckError;
use super::look::Looker;
use super::report::{as_text, in_order, summary};
use crate::backoff::Backoff;
use crate::dataset::{Fetched, Pictures};
use crate::error::chain;
use crate::facade::{CallError, Facade};
use crate::import::Patience;
use crate::net::plain_client;
use crate::upload::put;

/// A facade that restarts is back in seconds; one that moves to another node, in a minute or two.
const FACADE_PATIENCE: Patience = Patience(Duration::from_secs(180));
/// Addresses that are asked for before the Job's own retry takes over.
const PLANS: u32 = 3;

/// Looks at every enabled picture.
///
/// # Errors
/// See [`CheckError::report`].
pub async fn check(config: &CheckConfig) -> Result<CheckedDataset, CheckError> {
    let http = plain_client().map_err(|source| CheckError::Client { source })?;
    let facade = config.facade.facade(&http);
    let folder = config.work_dir.join("pictures");
    let unusable = |source| CheckError::WorkDirectory { path: folder.clone(), source };
    tokio::fs::create_dir_all(&folder).await.map_err(unusable)?;
    let pictures = Pictures { facade: &facade, http: &http, dataset: &config.dataset, folder: &folder };
    let (looker, items, lines) = (Looker::new(), Cell::new(0_u32), RefCell::new(Vec::new()));
    let visit = async |item: &Item, fetched: Option<Fetched>| -> Result<(), CheckError> {
        if let Some(fetched) = fetched {
            let line = looker.look(item, fetched).await?;
            lines.borrow_mut().push(line);
        }
        items.set(items.get().saturating_add(1));
        Ok(())
    };
    pictures.walk(visit).await?;
    let lines = in_order(lines.into_inner());
    let report = store(&facade, &http, &lines).await?;
    let checked = summary(&lines, items.get(), report);
    tracing::info!(
        dataset = config.dataset,
        items = checked.items,
        missing = checked.missing,
        invalid = checked.invalid,
        duplicates = checked.duplicates,
        "every picture was looked at"
    );
    Ok(checked)
}

/// Puts the report into the object store, and says its key; nothing for a Dataset without enabled pictures.
async fn store(
    facade: &Facade,
    http: &reqwest::Client,
    lines: &[ReportLine],
) -> Result<Option<String>, CheckError> {
    if lines.is_empty() {
        return Ok(None);
    }
    let text = bytes::Bytes::from(as_text(lines));
    let request = ReportRequest { size_bytes: text.len() as u64 };
    let mut backoff = Backoff::new(Duration::from_secs(1), Duration::from_secs(10));
    loop {
        let plan = FACADE_PATIENCE.repeat(|| facade.dataset_report(&request), CallError::retriable).await;
        let plan = plan.map_err(|source| CheckError::Facade { source })?;
        match put(http, &plan.url, "application/x-ndjson", text.clone(), "the report").await {
            Ok(()) => return Ok(Some(plan.key)),
            Err(error) if backoff.tries() + 1 < PLANS => {
                tracing::warn!(error = %chain(&error), "cannot store the report; asking for a new address");
                sleep(backoff.next_delay()).await;
            }
            Err(error) => return Err(error.into()),
        }
    }
}
