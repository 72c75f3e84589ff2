//! Which pictures a Dataset has, and where their bytes are.

use std::sync::Arc;

use easel_store::objects::{ObjectError, ObjectKey};
use sha2::{Digest, Sha256};

use super::manifest::{LineError, MAX_BYTES};
use crate::app::App;
use crate::catalog::{DatasetView, ItemView, ManifestView};
use crate::folders;

/// Why the pictures of a Dataset are not known.
#[derive(Debug, thiserror::Error)]
pub enum ItemsError {
    #[error("Dataset {dataset}: key {key} belongs to Easel or to another namespace")]
    KeyNotAllowed { dataset: String, key: String },
    #[error("Dataset {dataset}: {key:?} is no key of an object")]
    InvalidKey { dataset: String, key: String },
    #[error("Dataset {dataset}: its manifest {key} is not in the object store")]
    ManifestMissing { dataset: String, key: String },
    #[error("Dataset {dataset}: its manifest {key} has {size} bytes; {MAX_BYTES} are allowed")]
    ManifestTooLarge { dataset: String, key: String, size: u64 },
    #[error(
        "Dataset {dataset}: the sha256 of its manifest is {actual}, spec.manifest.sha256 asks for {expected}"
    )]
    ManifestChanged { dataset: String, expected: String, actual: String },
    #[error("Dataset {dataset}: its manifest cannot be read")]
    Manifest { dataset: String, source: LineError },
    #[error("cannot read the manifest of Dataset {dataset}")]
    Objects { dataset: String, source: ObjectError },
}

impl ItemsError {
    /// Stable CamelCase word; API.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::KeyNotAllowed { .. } => "KeyNotAllowed",
            Self::InvalidKey { .. } => "InvalidKey",
            Self::ManifestMissing { .. } => "ManifestMissing",
            Self::ManifestTooLarge { .. } => "ManifestTooLarge",
            Self::ManifestChanged { .. } => "ManifestChanged",
            Self::Manifest { .. } => "ManifestInvalid",
            Self::Objects { .. } => "ObjectStore",
        }
    }

    /// Does trying again with the same spec make sense?
    pub fn retriable(&self) -> bool {
        match self {
            Self::Objects { source, .. } => source.retriable(),
            Self::ManifestMissing { .. } => true,
            Self::KeyNotAllowed { .. }
            | Self::InvalidKey { .. }
            | Self::ManifestTooLarge { .. }
            | Self::ManifestChanged { .. }
            | Self::Manifest { .. } => false,
        }
    }

    /// The message with that of its source, for a caller who sees no chain.
    pub fn sentence(&self) -> String {
        match self {
            Self::Manifest { source, .. } => format!("{self}: {source}"),
            _ => self.to_string(),
        }
    }
}

/// Every picture, disabled ones too.
///
/// # Errors
/// [`ItemsError`]
pub async fn items(app: &App, dataset: &DatasetView) -> Result<Arc<Vec<ItemView>>, ItemsError> {
    let Some(ManifestView { key, sha256 }) = &dataset.manifest else {
        return Ok(Arc::new(dataset.items.clone()));
    };
    let name = || dataset.name.clone();
    if !folders::may_read(&dataset.namespace, key) {
        return Err(ItemsError::KeyNotAllowed { dataset: name(), key: key.clone() });
    }
    let at: ObjectKey =
        key.parse().map_err(|_| ItemsError::InvalidKey { dataset: name(), key: key.clone() })?;
    // By namespace and key too: who only knows the hash has not shown that he may read it.
    let known = format!("{}/{key}@{sha256}", dataset.namespace);
    let _one_at_a_time = app.manifests.turn().await;
    if let Some(items) = app.manifests.get(&known) {
        return Ok(items);
    }
    let object = match app.objects.get(&at, None).await {
        Ok(object) => object,
        Err(ObjectError::NotFound { .. }) => {
            return Err(ItemsError::ManifestMissing { dataset: name(), key: key.clone() });
        }
        Err(source) => return Err(ItemsError::Objects { dataset: name(), source }),
    };
    let size = object.meta.size;
    let too_large = || ItemsError::ManifestTooLarge { dataset: name(), key: key.clone(), size };
    if size > MAX_BYTES as u64 {
        return Err(too_large());
    }
    let bytes = object.bytes(MAX_BYTES).await.map_err(|error| match error {
        ObjectError::TooLarge { .. } => too_large(),
        source => ItemsError::Objects { dataset: name(), source },
    })?;
    let actual = hex::encode(Sha256::digest(&bytes));
    if actual != *sha256 {
        return Err(ItemsError::ManifestChanged { dataset: name(), expected: sha256.clone(), actual });
    }
    let items =
        super::manifest::parse(&bytes).map_err(|source| ItemsError::Manifest { dataset: name(), source })?;
    Ok(app.manifests.keep(known, items))
}

/// Where the bytes of a picture are.
///
/// # Errors
/// [`ItemsError::KeyNotAllowed`], [`ItemsError::InvalidKey`]
pub fn key(dataset: &DatasetView, item: &ItemView) -> Result<ObjectKey, ItemsError> {
    let name = || dataset.name.clone();
    match &item.key {
        Some(key) if !folders::may_read(&dataset.namespace, key) => {
            Err(ItemsError::KeyNotAllowed { dataset: name(), key: key.clone() })
        }
        Some(key) => key.parse().map_err(|_| ItemsError::InvalidKey { dataset: name(), key: key.clone() }),
        None => folders::picture_key(&dataset.namespace, &dataset.dataset_name, &item.name)
            .map_err(|_| ItemsError::InvalidKey { dataset: name(), key: item.name.clone() }),
    }
}
