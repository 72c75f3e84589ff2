//! Where a Model's weights come from.

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use crate::model_merge::*;

use crate::common::{SecretKeyRef, SecretRef};
use crate::{rules, schema};

/// Exactly one field is set.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = rules::one_source())]
pub struct ModelSource {
    /// `upload` waits for the files to be sent through the facade.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub upload: Option<UploadSource>,
    /// `objectStore` names an object that is in Easel's object store already; it stays where it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub object_store: Option<ObjectStoreSource>,
    /// `s3` copies an object from another S3 bucket.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub s3: Option<S3Source>,
    /// `http` downloads a file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub http: Option<HttpSource>,
    /// `huggingFace` downloads files of a repository.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hugging_face: Option<HuggingFaceSource>,
    /// `civitai` downloads the primary file of a model version.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub civitai: Option<CivitaiSource>,
    /// `volume` copies a file from a PersistentVolumeClaim.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub volume: Option<VolumeSource>,
    /// `merge` computes the weights from those of two or three Models.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub merge: Option<MergeSource>,
    /// `trainingJob` takes what a TrainingJob made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub training_job: Option<TrainingJobSource>,
}

/// Files that a client sends.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct UploadSource {
    /// `files` that are expected; the upload is complete when all have arrived.
    #[schemars(schema_with = "schema::named::<UploadFile, 1, 16>")]
    pub files: Vec<UploadFile>,
}

/// A file that is expected.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct UploadFile {
    /// `name` of the file.
    #[schemars(length(min = 1, max = 128))]
    #[x_kube(validation = rules::file_name("name"))]
    pub name: String,
    /// `sizeBytes`, if known beforehand: the upload must have exactly this size.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1_099_511_627_776u64))]
    pub size_bytes: Option<u64>,
}

/// An object in Easel's own object store.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
pub struct ObjectStoreSource {
    /// `key` of the object.
    #[schemars(length(min = 1, max = 1024))]
    #[x_kube(validation = rules::object_key("key"))]
    pub key: String,
    /// `sha256` that the bytes must have.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::sha256")]
    #[x_kube(validation = rules::sha256("sha256"))]
    pub sha256: Option<String>,
}

/// An object in another bucket.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct S3Source {
    /// `bucket` that holds it.
    #[schemars(length(min = 3, max = 63), regex(pattern = r"^[a-z0-9][a-z0-9.-]*[a-z0-9]$"))]
    pub bucket: String,
    /// `key` of the object.
    #[schemars(length(min = 1, max = 1024))]
    #[x_kube(validation = rules::object_key("key"))]
    pub key: String,
    /// `region` of the bucket; unset means the service's default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 64))]
    pub region: Option<String>,
    /// `endpoint` of the service; unset means AWS.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 512))]
    #[x_kube(validation = rules::http_url("endpoint"))]
    pub endpoint: Option<String>,
    /// `credentialsSecretRef` names a Secret, labelled `easel.dev/use: s3-credentials`, with `accessKeyId` and `secretAccessKey`; unset means no signature.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub credentials_secret_ref: Option<SecretRef>,
    /// `sha256` that the bytes must have.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::sha256")]
    #[x_kube(validation = rules::sha256("sha256"))]
    pub sha256: Option<String>,
}

/// A file behind a URL.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct HttpSource {
    /// `url` of the file. It is fetched through a client that refuses addresses inside the cluster.
    #[schemars(length(min = 1, max = 2048))]
    #[x_kube(validation = rules::http_url("url"))]
    pub url: String,
    /// `sha256` that the bytes must have.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::sha256")]
    #[x_kube(validation = rules::sha256("sha256"))]
    pub sha256: Option<String>,
    /// `headersSecretRef` names a Secret, labelled `easel.dev/use: http-headers`, whose keys are header names and whose values are sent along.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub headers_secret_ref: Option<SecretRef>,
}

/// Files of a Hugging Face repository.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct HuggingFaceSource {
    /// `repository` as `owner/name`.
    #[schemars(
        length(min = 3, max = 193),
        regex(pattern = r"^[A-Za-z0-9][-._A-Za-z0-9]*/[A-Za-z0-9][-._A-Za-z0-9]*$")
    )]
    pub repository: String,
    /// `revision`: branch, tag or commit.
    #[serde(default = "main_branch")]
    #[schemars(length(min = 1, max = 128))]
    #[x_kube(validation = rules::object_key("revision"))]
    pub revision: String,
    /// `files` to take, as patterns: `*` stands for any text, slashes included, `?` for one letter, and a slash at the end for all that is below. Empty means the one weight file at the top of the repository, or else its diffusers folder.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "schema::path_set")]
    pub files: Vec<String>,
    /// `ignore` are patterns of files that are not taken although `files` names them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "schema::ignored_path_set")]
    pub ignore: Vec<String>,
    /// `tokenSecretRef` holds the access token of a gated or private repository; the Secret is labelled `easel.dev/use: access-token`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token_secret_ref: Option<SecretKeyRef>,
}

fn main_branch() -> String {
    "main".into()
}

/// A version of a model on Civitai.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct CivitaiSource {
    /// `modelVersionId` is the number in the download address.
    #[schemars(range(min = 1, max = 1_000_000_000_000i64))]
    pub model_version_id: i64,
    /// `tokenSecretRef` holds the API token, where one is asked for; the Secret is labelled `easel.dev/use: access-token`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token_secret_ref: Option<SecretKeyRef>,
    /// `sha256` that the bytes must have.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::sha256")]
    #[x_kube(validation = rules::sha256("sha256"))]
    pub sha256: Option<String>,
}

/// A file on a volume.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct VolumeSource {
    /// `claimName` of the PersistentVolumeClaim; it is mounted read-only.
    #[schemars(schema_with = "schema::kubernetes_name")]
    pub claim_name: String,
    /// `path` of the file or diffusers folder below the volume's root.
    #[schemars(length(min = 1, max = 1024))]
    #[x_kube(validation = rules::object_key("path"))]
    pub path: String,
}

/// The result of a TrainingJob.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct TrainingJobSource {
    /// `name` of the TrainingJob.
    #[schemars(schema_with = "schema::object_name")]
    pub name: String,
}
