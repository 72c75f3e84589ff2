//! Answers to pods that are not a success: every one a [`Refusal`] as JSON.

use axum::Json;
use axum::response::{IntoResponse, Response};
use easel_protocol::worker::Refusal;
use easel_store::jobs::{LeaseError, Refused, StoreError};
use easel_store::objects::ObjectError;
use http::{HeaderValue, StatusCode, header};

use crate::catalog::ClusterError;
use crate::http::body::BodyError;
use crate::http::middleware::Cause;

/// Why a pod's call failed.
#[derive(Debug, thiserror::Error)]
pub enum WorkerError {
    #[error("no bearer token")]
    NoToken,
    #[error("the token is not valid for the audience \"easel\"")]
    InvalidToken,
    #[error("{user} is not the ServiceAccount of {wanted}")]
    WrongIdentity { user: String, wanted: &'static str },
    #[error("job {job} belongs to another endpoint")]
    OtherEndpoint { job: String },
    #[error("{0}")]
    Input(String),
    #[error(transparent)]
    Body(#[from] BodyError),
    #[error(transparent)]
    Refused(#[from] Refused),
    #[error("output {name} of job {job}: {problem}")]
    Output { job: String, name: String, problem: String },
    #[error("{message}")]
    NothingToImport { reason: &'static str, message: String },
    #[error("{message}")]
    NotNow { reason: &'static str, message: String },
    #[error("{job} does not name Dataset {dataset}")]
    OtherDataset { job: String, dataset: String },
    #[error("{kind} {namespace}/{name} is not known here (yet)")]
    NotKnown { kind: &'static str, namespace: String, name: String },
    #[error("the caches of the objects are not filled yet")]
    NotSynced,
    #[error("cannot use the job store")]
    Jobs { source: StoreError },
    #[error("cannot use the object store")]
    Objects { source: ObjectError },
    #[error("cannot reach the API server")]
    Cluster { source: ClusterError },
}

impl WorkerError {
    fn status(&self) -> StatusCode {
        match self {
            Self::NoToken | Self::InvalidToken => StatusCode::UNAUTHORIZED,
            Self::WrongIdentity { .. } | Self::OtherEndpoint { .. } | Self::OtherDataset { .. } => {
                StatusCode::FORBIDDEN
            }
            Self::Input(_) | Self::Body(BodyError::Interrupted { .. }) => StatusCode::BAD_REQUEST,
            Self::Body(BodyError::TooLarge { .. }) => StatusCode::PAYLOAD_TOO_LARGE,
            Self::Refused(_) | Self::Output { .. } | Self::NothingToImport { .. } | Self::NotNow { .. } => {
                StatusCode::CONFLICT
            }
            // The pod may be ahead of our watch: it asks again.
            Self::NotKnown { .. } | Self::NotSynced => StatusCode::SERVICE_UNAVAILABLE,
            Self::Jobs { .. } | Self::Objects { .. } => StatusCode::INTERNAL_SERVER_ERROR,
            Self::Cluster { .. } => StatusCode::BAD_GATEWAY,
        }
    }

    /// Stable CamelCase word.
    fn reason(&self) -> &'static str {
        match self {
            Self::NoToken => "NoToken",
            Self::InvalidToken => "InvalidToken",
            Self::WrongIdentity { .. } => "WrongIdentity",
            Self::OtherEndpoint { .. } => "OtherEndpoint",
            Self::Input(_) | Self::Body(_) => "InvalidRequest",
            Self::Refused(refused) => refused.reason(),
            Self::Output { .. } => "MissingOutput",
            Self::NothingToImport { reason, .. } | Self::NotNow { reason, .. } => reason,
            Self::OtherDataset { .. } => "OtherDataset",
            Self::NotKnown { .. } => "NotKnown",
            Self::NotSynced => "NotSynced",
            Self::Jobs { .. } => "JobStore",
            Self::Objects { .. } => "ObjectStore",
            Self::Cluster { .. } => "ApiServer",
        }
    }
}

impl From<LeaseError> for WorkerError {
    fn from(error: LeaseError) -> Self {
        match error {
            LeaseError::Refused(refused) => Self::Refused(refused),
            LeaseError::Store(source) => Self::Jobs { source },
        }
    }
}

impl From<StoreError> for WorkerError {
    fn from(source: StoreError) -> Self {
        Self::Jobs { source }
    }
}

impl From<ObjectError> for WorkerError {
    fn from(source: ObjectError) -> Self {
        Self::Objects { source }
    }
}

impl From<ClusterError> for WorkerError {
    fn from(source: ClusterError) -> Self {
        Self::Cluster { source }
    }
}

impl IntoResponse for WorkerError {
    fn into_response(self) -> Response {
        let refusal = Refusal { reason: self.reason().to_owned(), message: self.to_string() };
        let mut response = (self.status(), Json(refusal)).into_response();
        if self.status() == StatusCode::SERVICE_UNAVAILABLE {
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
        }
        response.extensions_mut().insert(Cause::of(&self));
        response
    }
}
