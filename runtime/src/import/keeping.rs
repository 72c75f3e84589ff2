//! Into the object store: the pieces of a Model, and the picture that came with it.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use easel_diffusion::Inspection;
use easel_protocol::import::{ImportPhase, ImportedFile, ImportedPicture, StoreRequest};
use sha2::{Digest, Sha256};
use tokio::io::AsyncReadExt;

use super::content::Piece;
use super::error::ImportError;
use super::progress::Meter;
use super::retry::Patience;
use super::storing::Storing;
use super::thumbnail;
use crate::facade::{CallError, Facade};
use crate::fetch::{Received, Receiver};

/// A facade that restarts is back in seconds; one that moves to another node, in a minute or two.
const FACADE_PATIENCE: Patience = Patience(Duration::from_secs(180));
/// Bytes hashed at a time.
const BLOCK: usize = 1 << 20;

/// Who has the object store.
#[derive(Clone, Copy)]
pub(super) struct Keeper<'a> {
    pub(super) facade: &'a Facade,
    pub(super) http: &'a reqwest::Client,
    pub(super) meter: &'a Arc<Meter>,
}

impl Keeper<'_> {
    /// Brings a piece into the object store, if it is not there already under `key`.
    pub(super) async fn keep(&self, piece: Piece, key: Option<String>) -> Result<ImportedFile, ImportError> {
        let Piece { name, path, received } = piece;
        let received = match received {
            Some(received) => received,
            None => self.hash(&name, &path).await?,
        };
        let key = match key {
            Some(key) => key,
            None => self.store(&name, &path, &received).await?,
        };
        let Received { sha256, size_bytes } = received;
        tracing::info!(file = name, sha256, size_bytes, "file imported");
        Ok(ImportedFile { name, key, sha256, size_bytes })
    }

    /// Is a file that an earlier process stored still there? The question also says that it is counted on.
    pub(super) async fn has(&self, file: &ImportedFile) -> Result<bool, ImportError> {
        let request = StoreRequest { sha256: file.sha256.clone(), size_bytes: file.size_bytes };
        let plan = FACADE_PATIENCE.repeat(|| self.facade.store_import(&request), CallError::retriable).await;
        let plan = plan.map_err(|source| ImportError::Facade { source })?;
        Ok(plan.parts.is_empty() && plan.key == file.key)
    }

    /// Stores the picture of a header, if there is one that can be shown.
    pub(super) async fn keep_picture(
        &self,
        work_dir: &Path,
        seen: &Inspection,
    ) -> Result<Option<ImportedPicture>, ImportError> {
        let Some(picture) = seen.about.thumbnail.as_ref().filter(|picture| thumbnail::is_sound(picture))
        else {
            return Ok(None);
        };
        let (name, path) = ("the thumbnail", work_dir.join("import-thumbnail"));
        let unusable = |source| ImportError::WorkDirectory { file: name.to_owned(), source };
        tokio::fs::write(&path, picture.bytes()).await.map_err(unusable)?;
        let sha256 = hex::encode(Sha256::digest(picture.bytes()));
        let received = Received { sha256: sha256.clone(), size_bytes: picture.bytes().len() as u64 };
        self.store(name, &path, &received).await?;
        tokio::fs::remove_file(&path).await.map_err(unusable)?;
        let media_type = picture.media_type().to_owned();
        Ok(Some(ImportedPicture { sha256, media_type, size_bytes: received.size_bytes }))
    }

    async fn store(&self, file: &str, path: &Path, received: &Received) -> Result<String, ImportError> {
        let Self { facade, http, meter } = *self;
        Storing { facade, http, meter, patience: FACADE_PATIENCE, file, path, received }.run().await
    }

    async fn hash(&self, name: &str, path: &Path) -> Result<Received, ImportError> {
        let unusable = |source| ImportError::WorkDirectory { file: name.to_owned(), source };
        let mut file = tokio::fs::File::open(path).await.map_err(unusable)?;
        let total = Some(file.metadata().await.map_err(unusable)?.len());
        let (mut receiver, mut block) = (Receiver::hash_only(), vec![0; BLOCK]);
        let failed = |source| ImportError::Fetch { file: name.to_owned(), source };
        loop {
            self.meter.step(ImportPhase::Checking, receiver.len(), total);
            match file.read(&mut block).await.map_err(unusable)? {
                0 => return receiver.finish().await.map_err(failed),
                n => receiver.write(&block[..n]).await.map_err(failed)?,
            }
        }
    }
}
