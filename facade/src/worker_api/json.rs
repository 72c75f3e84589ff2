//! Bodies of the worker protocol: exact, and small.

use axum::extract::{FromRequest, Request};
use serde::de::DeserializeOwned;

use super::error::WorkerError;
use crate::app::App;
use crate::http::body;

/// A thousand part tags or infotexts of long prompts fit; nothing of the protocol is larger.
const MAX_BODY: usize = 4 << 20;

pub struct WorkerJson<T>(pub T);

impl<T: DeserializeOwned> FromRequest<App> for WorkerJson<T> {
    type Rejection = WorkerError;

    async fn from_request(request: Request, _: &App) -> Result<Self, WorkerError> {
        let (parts, body) = request.into_parts();
        let bytes = body::read(&parts.headers, body, MAX_BODY).await?;
        serde_json::from_slice(&bytes).map(Self).map_err(|error| WorkerError::Input(error.to_string()))
    }
}
