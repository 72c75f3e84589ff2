//! Refusals of Easel's own API: `{"reason", "message"}`.

use axum::Json;
use axum::response::{IntoResponse, Response};
use easel_store::objects::{ObjectError, PutStreamError};
use http::{HeaderValue, StatusCode, header};
use serde_json::json;

use crate::catalog::ClusterError;
use crate::datasets::ItemsError;
use crate::http::body::BodyError;
use crate::http::middleware::Cause;

#[derive(Debug, thiserror::Error)]
pub enum NativeError {
    #[error(transparent)]
    Body(#[from] BodyError),
    #[error("{0}")]
    Input(String),
    #[error("Model \"{0}\" is not found")]
    NoModel(String),
    #[error("Dataset \"{0}\" is not found")]
    NoDataset(String),
    #[error("TrainingJob \"{0}\" is not found")]
    NoTraining(String),
    #[error("Dataset \"{dataset}\" lists no picture \"{item}\"; add it to its items first")]
    NotListed { dataset: String, item: String },
    #[error("{}", .0.sentence())]
    Items(#[from] ItemsError),
    #[error("Model \"{model}\" has no source `upload`: its files are not sent here")]
    NotAnUpload { model: String },
    #[error("Model \"{model}\" is Ready; weights of another content are another Model")]
    AlreadyReady { model: String },
    #[error("Model \"{model}\" declares no file \"{file}\"; it declares {declared}")]
    NotDeclared { model: String, file: String, declared: String },
    #[error("{file} has {actual} bytes, the Model declares {expected}")]
    WrongSize { file: String, actual: u64, expected: u64 },
    #[error("{file} is larger than {limit} bytes, the most that is accepted")]
    TooLarge { file: String, limit: u64 },
    #[error("{file}: {problem}")]
    Upload { file: String, problem: String },
    #[error("the body of {file} broke off; send it again")]
    Interrupted { file: String, source: PutStreamError<axum::Error> },
    #[error("the caches of the objects are not filled yet")]
    NotSynced,
    #[error("cannot use the object store")]
    Objects { source: ObjectError },
    #[error("cannot reach the API server")]
    Cluster { source: ClusterError },
}

impl NativeError {
    fn status_and_reason(&self) -> (StatusCode, &'static str) {
        match self {
            Self::Body(BodyError::TooLarge { .. }) | Self::TooLarge { .. } => {
                (StatusCode::PAYLOAD_TOO_LARGE, "TooLarge")
            }
            Self::Body(BodyError::Interrupted { .. }) | Self::Interrupted { .. } => {
                (StatusCode::BAD_REQUEST, "Interrupted")
            }
            Self::Input(_) => (StatusCode::BAD_REQUEST, "InvalidRequest"),
            Self::NoModel(_) | Self::NoDataset(_) | Self::NoTraining(_) => {
                (StatusCode::NOT_FOUND, "NotFound")
            }
            Self::NotListed { .. } => (StatusCode::BAD_REQUEST, "NotListed"),
            Self::Items(error @ ItemsError::Objects { .. }) => {
                (StatusCode::INTERNAL_SERVER_ERROR, error.reason())
            }
            Self::Items(error) => (StatusCode::CONFLICT, error.reason()),
            Self::NotAnUpload { .. } => (StatusCode::CONFLICT, "NotAnUpload"),
            Self::AlreadyReady { .. } => (StatusCode::CONFLICT, "AlreadyReady"),
            Self::NotDeclared { .. } => (StatusCode::BAD_REQUEST, "NotDeclared"),
            Self::WrongSize { .. } => (StatusCode::BAD_REQUEST, "WrongSize"),
            Self::Upload { .. } => (StatusCode::BAD_REQUEST, "InvalidUpload"),
            Self::NotSynced => (StatusCode::SERVICE_UNAVAILABLE, "NotSynced"),
            Self::Objects { .. } => (StatusCode::INTERNAL_SERVER_ERROR, "ObjectStore"),
            Self::Cluster { .. } => (StatusCode::BAD_GATEWAY, "ApiServer"),
        }
    }
}

impl From<ObjectError> for NativeError {
    fn from(source: ObjectError) -> Self {
        Self::Objects { source }
    }
}

impl From<ClusterError> for NativeError {
    fn from(source: ClusterError) -> Self {
        Self::Cluster { source }
    }
}

impl IntoResponse for NativeError {
    fn into_response(self) -> Response {
        let (status, reason) = self.status_and_reason();
        let mut response =
            (status, Json(json!({"reason": reason, "message": self.to_string()}))).into_response();
        if status == StatusCode::SERVICE_UNAVAILABLE {
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("2"));
        }
        response.extensions_mut().insert(Cause::of(&self));
        response
    }
}
