//! Refusals about training and data sets: a true HTTP status, and the keys that clients read.

use axum::Json;
use axum::response::{IntoResponse, Response};
use easel_store::objects::ObjectError;
use http::{HeaderValue, StatusCode, header};
use serde_json::json;

use crate::catalog::ClusterError;
use crate::datasets::ItemsError;
use crate::http::middleware::Cause;

/// Why a call failed.
#[derive(Debug, thiserror::Error)]
pub enum TrainingError {
    #[error("the caches of TrainingJobs, Datasets and Models are not filled yet")]
    NotSynced,
    #[error("{field}: {problem}")]
    Field { field: String, problem: String },
    #[error("no model has the id or the name {name}{}", list_of(.known))]
    NoModel { name: String, known: Vec<String> },
    #[error("model {name} is in {reason} state, not in Complete: {message}")]
    ModelNotReady { name: String, reason: String, message: String },
    #[error("no such train job with id({0})")]
    NoTraining(String),
    #[error("dataset {0} is not found")]
    NoDataset(String),
    #[error("{}", .0.sentence())]
    Items(#[from] ItemsError),
    #[error("cannot sign a URL")]
    Objects { source: ObjectError },
    /// Changed by others again and again while it was to be changed here.
    #[error("{what} is being changed by somebody else; try again")]
    Busy { what: String },
    #[error("{0}")]
    Cluster(ClusterError),
}

fn list_of(names: &[String]) -> String {
    match names {
        [] => "; there is none that can be trained".to_owned(),
        names => format!("; known are {}", names.join(", ")),
    }
}

impl TrainingError {
    /// A field that has to be mended.
    pub(super) fn field(field: impl Into<String>, problem: impl Into<String>) -> Self {
        Self::Field { field: field.into(), problem: problem.into() }
    }

    fn status(&self) -> StatusCode {
        match self {
            Self::NotSynced => StatusCode::SERVICE_UNAVAILABLE,
            Self::Field { .. }
            | Self::NoModel { .. }
            | Self::ModelNotReady { .. }
            | Self::Cluster(ClusterError::Invalid { .. }) => StatusCode::BAD_REQUEST,
            Self::NoTraining(_) | Self::NoDataset(_) => StatusCode::NOT_FOUND,
            Self::Busy { .. } | Self::Cluster(ClusterError::Conflict { .. }) => StatusCode::CONFLICT,
            Self::Items(ItemsError::Objects { .. }) | Self::Objects { .. } => {
                StatusCode::INTERNAL_SERVER_ERROR
            }
            Self::Items(_) => StatusCode::CONFLICT,
            Self::Cluster(_) => StatusCode::BAD_GATEWAY,
        }
    }
}

impl From<ClusterError> for TrainingError {
    fn from(error: ClusterError) -> Self {
        Self::Cluster(error)
    }
}

impl From<ObjectError> for TrainingError {
    fn from(source: ObjectError) -> Self {
        Self::Objects { source }
    }
}

impl IntoResponse for TrainingError {
    fn into_response(self) -> Response {
        let (status, text) = (self.status(), self.to_string());
        let mut body = json!({"statusCode": status.as_u16(), "error": text});
        if matches!(self, Self::NoDataset(_)) {
            body["errorMsg"] = text.into();
        }
        let mut response = (status, Json(body)).into_response();
        if status == StatusCode::SERVICE_UNAVAILABLE {
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("2"));
        }
        response.extensions_mut().insert(Cause::of(&self));
        response
    }
}
