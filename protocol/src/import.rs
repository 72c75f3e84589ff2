//! The importer's part of the worker protocol, and the result it leaves in its termination message.
//!
//! | call | answers |
//! |---|---|
//! | `POST /worker/v1/import/claim` | 200 [`ImportTask`], 409 when there is nothing to import |
//! | `POST /worker/v1/import/progress` [`ImportProgress`] | 204 |
//! | `POST /worker/v1/import/store` [`StoreRequest`] | 200 [`StorePlan`]: where the bytes go; an object that is there already needs none |
//! | `POST /worker/v1/import/complete` [`StoreDone`] | 204 once the facade has completed the upload and seen the object's size |
//!
//! All four may be repeated. A crash leaves at worst an unfinished multipart upload, which the facade aborts.

use serde::{Deserialize, Serialize};

pub use crate::imported::{
    ImportResult, ImportedFile, ImportedModel, ImportedNetwork, ImportedPicture, MAX_FILES, ResultTooLarge,
};

pub const CLAIM_IMPORT_PATH: &str = "/worker/v1/import/claim";
pub const IMPORT_PROGRESS_PATH: &str = "/worker/v1/import/progress";
pub const STORE_IMPORT_PATH: &str = "/worker/v1/import/store";
pub const COMPLETE_IMPORT_PATH: &str = "/worker/v1/import/complete";

/// Where weights are kept in the object store, each file under its SHA-256.
pub const WEIGHTS_FOLDER: &str = "models/sha256/";

/// The key of the object with this SHA-256 (64 lower-case hexadecimal digits).
pub fn weights_key(sha256: &str) -> String {
    format!("{WEIGHTS_FOLDER}{sha256}")
}

/// Endings of files that go along with weights.
const SIDE_FILES: &[&str] = &[".json", ".yaml", ".yml", ".txt", ".md"];

/// Is this file of a Model, by its name, one that goes along with weights rather than weights?
pub fn is_side_file(name: &str) -> bool {
    let lower = name.to_ascii_lowercase();
    SIDE_FILES.iter().any(|ending| lower.ends_with(ending))
}

/// What to import.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ImportTask {
    /// Name of the Model.
    pub model: String,
    /// What the Model says it is, e.g. `Checkpoint`; the header must agree.
    pub model_type: String,
    /// One or more; an origin that is a repository or a folder stands for as many files as it holds.
    pub files: Vec<ImportFile>,
    /// Set: the files become one, and that one is imported.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub merge: Option<MergeTask>,
    /// Largest file that is accepted, in bytes.
    pub max_bytes: u64,
}

/// How the files of a task are merged: the first two are A and B, then come C and the VAE where there are such.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct MergeTask {
    pub method: MergeMethod,
    /// The share of B, 0 to 1.
    pub multiplier: f64,
    /// Empty, or one for each block of the UNet.
    pub block_weights: Vec<f64>,
    /// Is the last file a VAE that takes the place of A's?
    pub has_vae: bool,
    pub precision: MergePrecision,
    pub prune_ema: bool,
    /// What the merged file is called.
    pub name: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum MergeMethod {
    WeightedSum,
    AddDifference,
    Sigmoid,
    InverseSigmoid,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum MergePrecision {
    F16,
    Bf16,
    F32,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ImportFile {
    pub name: String,
    pub origin: Origin,
    /// The hash that the Model's spec asks for.
    pub sha256: Option<String>,
}

/// Where the bytes are.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all_fields = "camelCase")]
pub enum Origin {
    /// In our object store under `key` already; read through the presigned `url`, stay where they are.
    Stored { key: String, url: String },
    /// At an address that a user named: only to be fetched through the guarded client.
    Http { url: String, headers: Vec<(String, String)> },
    /// Files of a repository of a hub that speaks Hugging Face's API. The importer asks which there are.
    HuggingFace {
        /// Address of the hub, e.g. `https://huggingface.co`.
        endpoint: String,
        /// `owner/name`.
        repository: String,
        /// Branch, tag or commit.
        revision: String,
        /// Patterns of the files to take; empty: the importer chooses.
        files: Vec<String>,
        /// Patterns of files to leave out; they win.
        ignore: Vec<String>,
        token: Option<String>,
    },
    /// The primary file of a version of a model on a site that speaks Civitai's API.
    Civitai {
        /// Address of the site, e.g. `https://civitai.com`.
        endpoint: String,
        model_version_id: i64,
        token: Option<String>,
    },
    /// A file or a folder on the volume that is mounted into the importer's pod.
    Volume {
        /// Below the volume's root.
        path: String,
    },
}

/// Without URLs, headers and tokens, which are or carry secrets.
impl std::fmt::Debug for Origin {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Stored { key, .. } => f.debug_struct("Stored").field("key", key).finish_non_exhaustive(),
            Self::Http { .. } => f.debug_struct("Http").finish_non_exhaustive(),
            Self::HuggingFace { repository, revision, files, ignore, .. } => f
                .debug_struct("HuggingFace")
                .field("repository", repository)
                .field("revision", revision)
                .field("files", files)
                .field("ignore", ignore)
                .finish_non_exhaustive(),
            Self::Civitai { model_version_id, .. } => {
                f.debug_struct("Civitai").field("model_version_id", model_version_id).finish_non_exhaustive()
            }
            Self::Volume { path } => f.debug_struct("Volume").field("path", path).finish(),
        }
    }
}

/// What an importer is doing. Over the files of a Model the phases come again and again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ImportPhase {
    /// Bytes come from the origin.
    Fetching,
    /// An archive is unpacked.
    Unpacking,
    /// A pickle is rewritten as safetensors.
    Converting,
    /// Models become one.
    Merging,
    /// Bytes are hashed.
    Checking,
    /// Bytes go into the object store.
    Storing,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ImportProgress {
    /// Unset when the importer has ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub phase: Option<ImportPhase>,
    /// Of this phase; while files are fetched, over all of them.
    pub bytes_done: u64,
    /// Unset while the origin has not said its size.
    pub bytes_total: Option<u64>,
    pub bytes_per_second: u64,
}

/// A file that was fetched and hashed, on its way into the store.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct StoreRequest {
    pub sha256: String,
    pub size_bytes: u64,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct StorePlan {
    /// Where the object is or will be.
    pub key: String,
    /// Empty when the object is there already.
    pub parts: Vec<PartSlot>,
    /// Given back in [`StoreDone`]; empty when there is nothing to send.
    pub upload_id: String,
    /// Every part but the last has this size.
    pub part_size: u64,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PartSlot {
    /// From 1.
    pub part_number: u32,
    /// Presigned PUT of the part.
    pub url: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct StoreDone {
    pub key: String,
    pub upload_id: String,
    pub size_bytes: u64,
    pub parts: Vec<PartDone>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PartDone {
    pub part_number: u32,
    pub etag: String,
}
