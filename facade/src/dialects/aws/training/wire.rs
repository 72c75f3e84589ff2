//! The bodies of these routes, field for field.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// `POST /train`
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct CreateTrain {
    pub train_type: Option<String>,
    /// Id, object name or REST name of a Model.
    pub model_id: Option<String>,
    pub params: Option<Map<String, Value>>,
    pub filenames: Option<Vec<String>>,
}

#[derive(Clone, Debug, Serialize)]
pub struct TrainCreated {
    #[serde(rename = "statusCode")]
    pub status_code: u16,
    pub job: TrainJob,
    /// File name to presigned PUT; null if no file is announced.
    #[serde(rename = "s3PresignUrl")]
    pub s3_presign_url: Option<BTreeMap<String, String>>,
    /// Ours: what was asked for and has no effect.
    pub warnings: Vec<String>,
}

/// A record as `POST /train` and `PUT /train` show it.
#[derive(Clone, Debug, Serialize)]
pub struct TrainJob {
    pub id: String,
    pub status: &'static str,
    pub created: f64,
    #[serde(rename = "trainType")]
    pub train_type: String,
    pub params: Value,
    pub input_location: String,
    /// Ours: the REST name of the Model that is made.
    pub output_model: String,
}

/// `PUT /train`
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct UpdateTrain {
    pub train_job_id: Option<String>,
    pub status: Option<String>,
}

#[derive(Clone, Debug, Serialize)]
pub struct TrainUpdated {
    #[serde(rename = "statusCode")]
    pub status_code: u16,
    pub job: TrainJob,
}

/// A record as `GET /trains` shows it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct TrainRecord {
    pub id: String,
    #[serde(rename = "modelName")]
    pub model_name: String,
    pub status: &'static str,
    #[serde(rename = "trainType")]
    pub train_type: String,
    pub created: f64,
    #[serde(rename = "sagemakerTrainName")]
    pub sagemaker_train_name: String,
    /// Ours, from here on.
    pub name: String,
    pub output_model: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub step: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub total_steps: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub loss: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

#[derive(Clone, Debug, Serialize)]
pub struct TrainList {
    #[serde(rename = "statusCode")]
    pub status_code: u16,
    #[serde(rename = "trainJobs")]
    pub train_jobs: Vec<TrainRecord>,
}

/// `POST /dataset`
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct CreateDataset {
    pub dataset_name: Option<String>,
    pub content: Option<Vec<DatasetFile>>,
    pub params: Option<Map<String, Value>>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct DatasetFile {
    pub filename: Option<String>,
    pub name: Option<String>,
    #[serde(rename = "type")]
    pub media_type: Option<String>,
    pub params: Option<Map<String, Value>>,
}

#[derive(Clone, Debug, Serialize)]
pub struct DatasetCreated {
    #[serde(rename = "statusCode")]
    pub status_code: u16,
    #[serde(rename = "datasetName")]
    pub dataset_name: String,
    /// File name to presigned PUT.
    #[serde(rename = "s3PresignUrl")]
    pub s3_presign_url: BTreeMap<String, String>,
}

/// `PUT /dataset`
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct UpdateDataset {
    pub dataset_name: Option<String>,
    pub status: Option<String>,
}

#[derive(Clone, Debug, Serialize)]
pub struct DatasetUpdated {
    #[serde(rename = "statusCode")]
    pub status_code: u16,
    #[serde(rename = "datasetName")]
    pub dataset_name: String,
    pub status: &'static str,
}

/// `GET /datasets`: the records carry the client's own keys too.
#[derive(Clone, Debug, Serialize)]
pub struct DatasetList {
    #[serde(rename = "statusCode")]
    pub status_code: u16,
    pub datasets: Vec<Map<String, Value>>,
}

/// `GET /dataset/{dataset_name}/data`
#[derive(Clone, Debug, Serialize)]
pub struct DatasetData {
    #[serde(rename = "statusCode")]
    pub status_code: u16,
    pub dataset_name: String,
    pub data: Vec<Map<String, Value>>,
}
