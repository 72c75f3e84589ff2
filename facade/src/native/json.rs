//! Bodies of Easel's own API.

use axum::extract::{FromRequest, Request};
use serde::de::DeserializeOwned;

use super::error::NativeError;
use crate::app::App;
use crate::http::body;

pub struct NativeJson<T>(pub T);

impl<T: DeserializeOwned> FromRequest<App> for NativeJson<T> {
    type Rejection = NativeError;

    async fn from_request(request: Request, app: &App) -> Result<Self, NativeError> {
        let (parts, body) = request.into_parts();
        let bytes = body::read(&parts.headers, body, app.config.max_body_bytes).await?;
        let mut reader = serde_json::Deserializer::from_slice(&bytes);
        serde_path_to_error::deserialize(&mut reader)
            .map(Self)
            .map_err(|error| NativeError::Input(error.to_string()))
    }
}
