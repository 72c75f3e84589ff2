//! The Kubernetes objects as the rest of the facade sees them: plain types, already judged.

use std::time::Duration;

use easel_crds::endpoint::ServedModel;
use easel_protocol::import::{MergeMethod, MergePrecision};
use jiff::Timestamp;

use crate::auth::Scope;

/// A condition, or its absence as `Unknown`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConditionView {
    pub holds: bool,
    pub reason: String,
    pub message: String,
    pub since: Option<Timestamp>,
}

impl ConditionView {
    /// For an object whose controller has not spoken yet.
    pub fn absent(message: &str) -> Self {
        Self { holds: false, reason: "Pending".into(), message: message.into(), since: None }
    }
}

/// Whether an Endpoint takes jobs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Service {
    /// At least one worker is ready.
    InService,
    /// On its way, or waiting for something that may come.
    Starting,
    /// Will not serve without a change by a person.
    Failed,
}

/// Bounds of an Endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LimitsView {
    pub max_pixels: u64,
    pub max_steps: u32,
    pub max_pictures: u32,
    /// Time of one attempt at a job.
    pub timeout: Duration,
    /// Jobs that may wait.
    pub max_pending: u32,
}

#[derive(Clone, Debug)]
pub struct EndpointView {
    pub namespace: String,
    pub name: String,
    pub uid: String,
    pub created: Timestamp,
    /// Names of the Models that are kept loaded.
    pub models: Vec<String>,
    /// Jobs may name any Model of the namespace.
    pub any_model: bool,
    pub limits: LimitsView,
    pub replicas: u32,
    pub autoscaling: bool,
    pub service: Service,
    /// `Ready`, or the condition that says best why it is not.
    pub condition: ConditionView,
    /// The last failure as one sentence.
    pub last_failure: Option<String>,
    /// What the status says of the models that workers hold.
    pub served: Vec<ServedModel>,
}

/// One weight file of a Model in the object store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileView {
    pub name: String,
    pub key: String,
    pub sha256: String,
    pub size_bytes: u64,
}

/// A file that a client is to upload.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeclaredFile {
    pub name: String,
    pub size_bytes: Option<u64>,
}

/// An object in a bucket that is not ours.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct S3View {
    pub bucket: String,
    pub key: String,
    pub region: Option<String>,
    /// Unset: AWS.
    pub endpoint: Option<String>,
    /// Name of the Secret; unset: no signature.
    pub credentials: Option<String>,
    pub sha256: Option<String>,
}

/// One value of a Secret in the Model's namespace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TokenRef {
    pub secret: String,
    pub key: String,
}

/// A Model that is computed from others of its namespace.
#[derive(Clone, Debug, PartialEq)]
pub struct MergeView {
    /// Names of A, B and, where the method takes it, C.
    pub models: Vec<String>,
    /// Name of the Model whose autoencoder is taken.
    pub vae: Option<String>,
    pub method: MergeMethod,
    pub multiplier: f64,
    pub block_weights: Vec<f64>,
    pub precision: MergePrecision,
    pub prune_ema: bool,
}

/// Where a Model's bytes come from.
#[derive(Clone, Debug, PartialEq)]
pub enum SourceView {
    Upload {
        files: Vec<DeclaredFile>,
        completed: bool,
    },
    ObjectStore {
        key: String,
        sha256: Option<String>,
    },
    Http {
        url: String,
        sha256: Option<String>,
        headers_secret: Option<String>,
    },
    S3(S3View),
    HuggingFace {
        repository: String,
        revision: String,
        files: Vec<String>,
        ignore: Vec<String>,
        token: Option<TokenRef>,
    },
    Civitai {
        model_version_id: i64,
        sha256: Option<String>,
        token: Option<TokenRef>,
    },
    Volume {
        path: String,
    },
    Merge(MergeView),
    /// The result of a TrainingJob of the same namespace.
    TrainingJob {
        name: String,
    },
    /// None is set.
    Absent,
}

#[derive(Clone, Debug)]
pub struct ModelView {
    pub namespace: String,
    pub name: String,
    pub uid: String,
    /// The name that REST clients use.
    pub display_name: String,
    /// CamelCase, as in the object: `Checkpoint`, `Lora`, …
    pub model_type: String,
    pub source: SourceView,
    pub ready: ConditionView,
    pub files: Vec<FileView>,
    /// Words that bring out what was trained.
    pub trigger_words: Vec<String>,
}

impl ModelView {
    /// Does a client that writes `name` mean this Model?
    pub fn is_called(&self, name: &str) -> bool {
        self.display_name == name || self.name == name || self.files.iter().any(|file| file.name == name)
    }

    /// The file that `name` means: the one of that name, else the first weight file.
    pub fn file_called(&self, name: &str) -> Option<&FileView> {
        self.files.iter().find(|file| file.name == name).or_else(|| self.weights())
    }

    /// The first weight file.
    pub fn weights(&self) -> Option<&FileView> {
        let weights = |file: &&FileView| file.name.ends_with(".safetensors");
        self.files.iter().find(weights).or_else(|| self.files.first())
    }
}

/// An API key. The namespace is the tenant.
#[derive(Clone, Debug)]
pub struct KeyView {
    pub namespace: String,
    pub name: String,
    pub created: Option<Timestamp>,
    pub sha256: [u8; 32],
    pub endpoint: Option<String>,
    pub scopes: Vec<Scope>,
    pub expires: Option<Timestamp>,
    pub suspended: bool,
}
