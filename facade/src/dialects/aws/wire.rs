//! The bodies of this dialect, field for field. What they mean is decided in `run` and `record`.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::numbers::{Flag, Real, Whole};

/// `POST /inference-api/inference`. Every field may be absent or null; then the template's default counts.
/// Fields that have no effect on a text-to-image picture without the features refused in `features` are not
/// listed and thus ignored, as the reference ignores them.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct RunInference {
    pub sagemaker_endpoint_name: Option<String>,
    pub task_type: Option<String>,
    /// Type of model to file names.
    pub models: Option<BTreeMap<String, Option<Vec<String>>>>,
    pub prompt: Option<String>,
    pub negative_prompt: Option<String>,
    pub seed: Option<Whole>,
    pub sampler_name: Option<String>,
    pub sampler_index: Option<String>,
    pub batch_size: Option<Whole>,
    pub n_iter: Option<Whole>,
    pub steps: Option<Whole>,
    pub cfg_scale: Option<Real>,
    pub width: Option<Whole>,
    pub height: Option<Whole>,
    pub eta: Option<Real>,
    pub override_settings: Option<Map<String, Value>>,

    pub enable_hr: Option<Flag>,
    pub styles: Option<Vec<String>>,
    pub subseed_strength: Option<Real>,
    pub seed_resize_from_h: Option<Real>,
    pub seed_resize_from_w: Option<Real>,
    pub restore_faces: Option<Flag>,
    pub tiling: Option<Flag>,
    pub s_min_uncond: Option<Real>,
    pub s_churn: Option<Real>,
    pub s_noise: Option<Real>,
    pub script_name: Option<String>,
    pub alwayson_scripts: Option<BTreeMap<String, Option<AlwaysOnScript>>>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct AlwaysOnScript {
    pub args: Option<Vec<Value>>,
}

/// Its answer: flat as documented, nested as the service answers.
#[derive(Clone, Debug, Serialize)]
pub struct InferenceStarted {
    pub inference_id: String,
    pub status: &'static str,
    pub endpoint_name: String,
    pub output_path: String,
    #[serde(rename = "statusCode")]
    pub status_code: u16,
    pub inference: StartedInference,
}

#[derive(Clone, Debug, Serialize)]
pub struct StartedInference {
    pub inference_id: String,
    pub status: &'static str,
    pub endpoint_name: String,
    pub output_path: String,
    #[serde(rename = "type")]
    pub task_type: String,
    pub models: Vec<StartedModel>,
    pub api_params_s3_location: String,
}

#[derive(Clone, Debug, Serialize)]
pub struct StartedModel {
    pub id: String,
    pub name: Vec<String>,
    #[serde(rename = "type")]
    pub model_type: String,
}

/// `?jobID=`, and our own `?format=png`.
#[derive(Clone, Debug, Default, Deserialize)]
pub struct JobQuery {
    #[serde(rename = "jobID")]
    pub job_id: Option<String>,
    pub format: Option<String>,
}

/// `POST /inference/query-inference-jobs`. An empty string means no condition.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct QueryJobs {
    pub status: Option<String>,
    pub task_type: Option<String>,
    pub start_time: Option<String>,
    pub end_time: Option<String>,
    pub endpoint: Option<String>,
    pub checkpoint: Option<String>,
    /// -1 or absent: all.
    pub limit: Option<Whole>,
}

/// A record of the inference job table.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct JobRecord {
    #[serde(rename = "InferenceJobId")]
    pub inference_job_id: String,
    #[serde(rename = "startTime")]
    pub start_time: String,
    /// Only once succeeded.
    #[serde(rename = "completeTime", skip_serializing_if = "Option::is_none")]
    pub complete_time: Option<String>,
    #[serde(rename = "taskType")]
    pub task_type: String,
    pub status: &'static str,
    pub params: JobParams,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub image_names: Option<Vec<String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub inference_info_name: Option<String>,
    #[serde(rename = "sagemakerRaw")]
    pub sagemaker_raw: String,
    /// Ours: why it failed, as a sentence.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// Ours: how far a running job is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub progress: Option<JobProgress>,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct JobParams {
    pub input_body_s3: String,
    pub input_body_presign_url: String,
    pub used_models: BTreeMap<String, Vec<UsedModel>>,
    pub sagemaker_inference_endpoint_id: String,
    pub sagemaker_inference_endpoint_name: String,
    pub output_path: String,
}

/// Also what is kept with the job, as its `dialect_params`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct UsedModel {
    pub id: String,
    pub model_name: String,
    /// The folder that the file is in.
    pub s3: String,
    #[serde(rename = "type")]
    pub model_type: String,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct JobProgress {
    pub stage: String,
    pub done: u64,
    pub total: u64,
}

/// What this dialect keeps with a job for its records.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct KeptParams {
    pub endpoint_id: String,
    pub used_models: BTreeMap<String, Vec<UsedModel>>,
}

/// A record of the endpoint deployment table.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct DeploymentRecord {
    #[serde(rename = "EndpointDeploymentJobId")]
    pub endpoint_deployment_job_id: String,
    #[serde(rename = "startTime")]
    pub start_time: String,
    #[serde(rename = "endTime", skip_serializing_if = "Option::is_none")]
    pub end_time: Option<String>,
    pub endpoint_name: String,
    pub endpoint_status: &'static str,
    pub status: &'static str,
    pub max_instance_number: String,
    pub autoscaling: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}
