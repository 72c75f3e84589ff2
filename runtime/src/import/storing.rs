//! From the working directory into the object store, in parts.

use std::path::Path;
use std::sync::Arc;

use easel_protocol::import::{ImportPhase, StoreDone, StoreRequest};

use super::error::ImportError;
use super::progress::Meter;
use super::retry::Patience;
use crate::error::chain;
use crate::facade::{CallError, Facade};
use crate::fetch::Received;
use crate::upload::Parts;

/// Plans per file: addresses of a plan run out, and an upload may be aborted at the other end.
const PLANS: u32 = 2;

/// A file on its way into the object store.
pub(super) struct Storing<'a> {
    pub(super) facade: &'a Facade,
    pub(super) http: &'a reqwest::Client,
    pub(super) meter: &'a Arc<Meter>,
    /// With the facade.
    pub(super) patience: Patience,
    /// Its name, for messages.
    pub(super) file: &'a str,
    pub(super) path: &'a Path,
    pub(super) received: &'a Received,
}

impl Storing<'_> {
    /// Puts the bytes into the object store, unless they are there already. Returns the key.
    pub(super) async fn run(&self) -> Result<String, ImportError> {
        let Self { facade, patience, received, .. } = *self;
        let request = StoreRequest { sha256: received.sha256.clone(), size_bytes: received.size_bytes };
        let facade_failed = |source| ImportError::Facade { source };
        let mut plans = 1;
        loop {
            let plan = patience.repeat(|| facade.store_import(&request), CallError::retriable).await;
            let plan = plan.map_err(facade_failed)?;
            if plan.parts.is_empty() {
                return Ok(plan.key);
            }
            let tell = |sent| self.meter.step(ImportPhase::Storing, sent, Some(received.size_bytes));
            let Self { http, file, path, .. } = *self;
            let parts = Parts { http, file, path, size_bytes: received.size_bytes, plan: &plan };
            match parts.send(&tell).await {
                Ok(parts) => {
                    let done = StoreDone {
                        key: plan.key.clone(),
                        upload_id: plan.upload_id.clone(),
                        size_bytes: received.size_bytes,
                        parts,
                    };
                    let completed =
                        patience.repeat(|| facade.complete_import(&done), CallError::retriable).await;
                    return completed.map(|()| plan.key).map_err(facade_failed);
                }
                Err(error) if error.retriable() && plans < PLANS => {
                    tracing::warn!(
                        file = self.file,
                        error = %chain(&error),
                        "cannot store the file; asking for a new plan"
                    );
                    plans += 1;
                }
                Err(error) => return Err(error.into()),
            }
        }
    }
}
