//! Refusals in this dialect's shape: a true HTTP status, and in the body every key that one of its clients
//! reads: `statusCode` and `error`, for a generation `err` and `status`, for a job look-up `detail`.

use axum::Json;
use axum::response::{IntoResponse, Response};
use easel_store::jobs::StoreError;
use easel_store::objects::ObjectError;
use http::{HeaderValue, StatusCode, header};
use serde::Serialize;
use serde_json::Value;

use super::record::type_word;
use crate::http::body::BodyError;
use crate::http::middleware::Cause;
use crate::submission::{SubmitError, UnusableModel, WhyUnusable};

/// Why a call of this dialect failed.
#[derive(Debug, thiserror::Error)]
pub enum AwsError {
    #[error(transparent)]
    Body(#[from] BodyError),
    #[error("{}: {problem}", .field.as_deref().unwrap_or("the body is not JSON"))]
    Json { field: Option<String>, problem: String },
    #[error("{field}: {problem}")]
    Field { field: String, problem: String },
    #[error("{field} asks for something that is not available here; {detail}")]
    Feature { field: String, detail: String },
    #[error(transparent)]
    Submit(#[from] SubmitError),
    #[error("There is no inference job info item for id: {0}")]
    NoJob(String),
    #[error("Inference job id must not be None or empty")]
    NoJobId,
    #[error("jobID must not be empty")]
    NoDeploymentId,
    #[error("cannot read the jobs")]
    Jobs { source: StoreError },
    #[error("cannot sign a URL")]
    Objects { source: ObjectError },
}

/// In the order in which the keys are written.
#[derive(Serialize)]
struct ErrorBody {
    #[serde(rename = "statusCode")]
    status_code: u16,
    error: Value,
    #[serde(skip_serializing_if = "Option::is_none")]
    err: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    detail: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    status: Option<&'static str>,
}

impl AwsError {
    fn status(&self) -> StatusCode {
        match self {
            Self::Body(BodyError::TooLarge { .. }) => StatusCode::PAYLOAD_TOO_LARGE,
            Self::Body(BodyError::Interrupted { .. })
            | Self::Json { .. }
            | Self::Field { .. }
            | Self::Feature { .. }
            | Self::NoJobId
            | Self::NoDeploymentId => StatusCode::BAD_REQUEST,
            Self::Submit(error) => submit_status(error),
            Self::NoJob(_) => StatusCode::NOT_FOUND,
            Self::Jobs { .. } | Self::Objects { .. } => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }

    /// Seconds after which it may go better.
    fn retry_after(&self) -> Option<&'static str> {
        match self {
            Self::Submit(SubmitError::QueueFull { .. }) => Some("5"),
            Self::Submit(SubmitError::NotSynced) => Some("2"),
            _ => None,
        }
    }

    fn body(&self) -> ErrorBody {
        let status_code = self.status().as_u16();
        let text = self.to_string();
        match self {
            Self::NoJob(_) | Self::NoJobId => ErrorBody {
                status_code,
                error: text.clone().into(),
                err: None,
                detail: Some(text),
                status: None,
            },
            Self::NoDeploymentId | Self::Jobs { .. } | Self::Objects { .. } => {
                ErrorBody { status_code, error: text.into(), err: None, detail: None, status: None }
            }
            Self::Submit(SubmitError::Models(unusable)) => {
                // The client joins the list with ", ".
                let lines: Vec<String> = unusable.iter().map(model_line).collect();
                let err = Some(lines.join(", "));
                ErrorBody { status_code, error: lines.into(), err, detail: None, status: Some("failed") }
            }
            Self::Body(_)
            | Self::Json { .. }
            | Self::Field { .. }
            | Self::Feature { .. }
            | Self::Submit(_) => {
                let err = Some(text.clone());
                ErrorBody { status_code, error: text.into(), err, detail: None, status: Some("failed") }
            }
        }
    }
}

fn submit_status(error: &SubmitError) -> StatusCode {
    match error {
        SubmitError::EndpointMissing
        | SubmitError::UnknownEndpoint { .. }
        | SubmitError::NotReady { .. }
        | SubmitError::CheckpointMissing
        | SubmitError::Models(_)
        | SubmitError::Invalid(_)
        | SubmitError::Field { .. } => StatusCode::BAD_REQUEST,
        SubmitError::QueueFull { .. } => StatusCode::TOO_MANY_REQUESTS,
        SubmitError::NotSynced => StatusCode::SERVICE_UNAVAILABLE,
        SubmitError::Store { .. } => StatusCode::INTERNAL_SERVER_ERROR,
    }
}

/// The service's own sentence first; to it every model is a checkpoint of a type.
fn model_line(UnusableModel { model_type, name, why }: &UnusableModel) -> String {
    let model = format!("checkpoint with name {name}, type {}", type_word(model_type));
    match why {
        WhyUnusable::Unknown { known } if known.is_empty() => format!("{model} is not found; there is none"),
        WhyUnusable::Unknown { known } => format!("{model} is not found; known are {}", known.join(", ")),
        WhyUnusable::NotListed { endpoint } => {
            format!("{model} is not among the models of endpoint {endpoint}")
        }
        WhyUnusable::NotReady { reason, message } => format!("{model} is not Active: {reason}: {message}"),
    }
}

impl IntoResponse for AwsError {
    fn into_response(self) -> Response {
        let mut response = (self.status(), Json(self.body())).into_response();
        if let Some(seconds) = self.retry_after() {
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static(seconds));
        }
        response.extensions_mut().insert(Cause::of(&self));
        response
    }
}
