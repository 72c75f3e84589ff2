//! The worker protocol, HTTP + JSON on the facade's internal port. A worker authenticates with its
//! projected ServiceAccount token (`Authorization: Bearer`, audience [`AUDIENCE`]).
//!
//! | call | answers |
//! |---|---|
//! | `GET  /worker/v1/models?known=<version>` | 200 [`ModelSet`]; long poll: returns at once when the set's version differs, else after 20 s |
//! | `POST /worker/v1/models/state` [`ModelStates`] | 204; at each change, and every 30 s as a sign of life |
//! | `POST /worker/v1/jobs/claim` [`ClaimRequest`] | 200 [`ClaimedJob`], or 204 after `waitSeconds` |
//! | `POST /worker/v1/jobs/{id}/heartbeat` [`Heartbeat`] | 200 [`HeartbeatReply`], 409 [`Refusal`] |
//! | `POST /worker/v1/jobs/{id}/complete` [`Completion`] | 204, 409 [`Refusal`] |
//! | `POST /worker/v1/jobs/{id}/fail` [`JobFailure`] | 204, 409 [`Refusal`] |
//! | `POST /worker/v1/jobs/{id}/release` [`Release`] | 204: the worker is going away, the attempt does not count |
//! | `POST /worker/v1/import/...` | see [`crate::import`] |
//! | `POST /worker/v1/dataset/...` | see [`crate::dataset`] |
//! | `POST /worker/v1/training/...` | see [`crate::training`] |
//!
//! Guarantees: a job is held by at most one unexpired lease; `complete` is idempotent for the attempt
//! that completed. 401: the token is not valid; 403: it is no worker's. Other 4xx: do not repeat. 5xx
//! and connection errors: repeat with back-off until the lease is lost.

use serde::{Deserialize, Serialize};

use crate::{FailureReport, GenerationRequest, NetworkFile};

/// Audience of the workers' tokens.
pub const AUDIENCE: &str = "easel";
pub const MODELS_PATH: &str = "/worker/v1/models";
pub const MODEL_STATES_PATH: &str = "/worker/v1/models/state";
/// Models of one [`ModelStates`] at most.
pub const MAX_MODEL_STATES: usize = 64;
pub const CLAIM_PATH: &str = "/worker/v1/jobs/claim";

/// Path of a call about one job; `action` is `heartbeat`, `complete`, `fail` or `release`.
pub fn job_path(id: &str, action: &str) -> String {
    format!("/worker/v1/jobs/{id}/{action}")
}

/// A weight file with a URL that is good for some time.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ModelFile {
    /// Name of the Model object.
    pub model: String,
    /// Name of the file as its owner calls it, e.g. `easel-demo.safetensors`.
    pub file_name: String,
    /// 64 lower-case hex digits; the key of the worker's cache.
    pub sha256: String,
    pub size_bytes: u64,
    /// Presigned GET.
    pub url: String,
}

/// The models that a worker of this endpoint is to hold.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ModelSet {
    /// Changes exactly when the set of (model, sha256) changes or one becomes ready; not with the URLs.
    pub version: String,
    /// Files of the checkpoints.
    pub models: Vec<ModelFile>,
    /// The endpoint's other Models that requests can use; each is held too.
    #[serde(default)]
    pub networks: Vec<NetworkFile>,
    /// Models of the endpoint that are not Ready, with the reason; the worker is not ready until it is empty.
    pub pending: Vec<PendingModel>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PendingModel {
    pub model: String,
    pub reason: String,
}

/// What a worker holds, and what it is about to hold. Replaces what the same worker said before; with no models it is
/// forgotten.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ModelStates {
    /// Each Model once; at most [`MAX_MODEL_STATES`].
    pub models: Vec<ModelState>,
}

/// How far one Model is in one worker.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ModelState {
    /// Name of the Model object.
    pub model: String,
    pub phase: ModelPhase,
    /// Of a failure: why; for the other phases there is nothing to say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failure: Option<FailureReport>,
}

/// Where a Model is on its way into memory, the furthest last.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum ModelPhase {
    /// The last try to load it ended with an error.
    Failed,
    /// Its bytes are on their way to the worker's disk.
    Downloading,
    /// Its bytes are being read into memory.
    Loading,
    /// Requests can use it at once.
    Loaded,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ClaimRequest {
    /// sha256 of the models in memory; jobs that want one of them are preferred.
    pub held: Vec<String>,
    /// How long the call may wait for a job; 0 to 30.
    pub wait_seconds: u64,
}

/// A job, leased to the caller.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ClaimedJob {
    pub id: String,
    /// 1 for the first worker that gets the job. Every later call names it.
    pub attempt: u32,
    /// The lease ends this long after the last heartbeat that was answered.
    pub lease_seconds: u64,
    /// Time the job may take altogether in this attempt.
    pub timeout_seconds: u64,
    pub request: GenerationRequest,
    pub checkpoint: ModelFile,
    /// The files of [`GenerationRequest::networks`], in their order.
    #[serde(default)]
    pub networks: Vec<NetworkFile>,
    pub outputs: Vec<OutputSlot>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ImageFormat {
    Png,
    Jpeg,
}

impl ImageFormat {
    pub fn content_type(self) -> &'static str {
        match self {
            Self::Png => "image/png",
            Self::Jpeg => "image/jpeg",
        }
    }
}

/// Where one encoded picture goes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct OutputSlot {
    /// Which picture, from 0.
    pub picture: u32,
    pub format: ImageFormat,
    /// File name, e.g. `image_0.png`.
    pub name: String,
    /// Presigned PUT, signed for `content-type: format.content_type()`.
    pub url: String,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Progress {
    /// `Downloading`, `Loading`, `Denoising`, `Uploading`.
    pub stage: String,
    pub done: u64,
    pub total: u64,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Heartbeat {
    pub attempt: u32,
    pub progress: Progress,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct HeartbeatReply {
    /// The caller cancelled: stop within one step, then `fail` with reason `Cancelled`.
    pub cancel: bool,
    pub lease_seconds: u64,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Completion {
    pub attempt: u32,
    pub outputs: Vec<OutputDone>,
    /// A1111 infotext of each picture, in order.
    pub infotexts: Vec<String>,
    pub timings: Timings,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct OutputDone {
    pub name: String,
    pub sha256: String,
    pub size_bytes: u64,
}

/// Milliseconds of each stage.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Timings {
    pub load_ms: u64,
    pub generate_ms: u64,
    pub upload_ms: u64,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct JobFailure {
    pub attempt: u32,
    pub failure: FailureReport,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Release {
    pub attempt: u32,
}

/// Why a call about a job was refused (409); the worker drops the job.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Refusal {
    /// `Stale` (another attempt holds it), `Finished`, `Unknown`, `MissingOutput`.
    pub reason: String,
    pub message: String,
}
