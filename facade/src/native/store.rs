//! What the object store says, in this API's words.

use std::time::Duration;

use easel_store::objects::{Audience, PutStreamError, ResponseHeaders};

use super::error::NativeError;
use crate::app::App;

/// Parts of a large file over a slow line take hours.
pub(super) const URL_LIFE: Duration = Duration::from_secs(24 * 3600);

/// Why a streamed file was not stored.
pub(super) fn put_error(file: String, limit: u64, error: PutStreamError<axum::Error>) -> NativeError {
    match error {
        PutStreamError::TooLarge { .. } => NativeError::TooLarge { file, limit },
        PutStreamError::Store(source) => NativeError::Objects { source },
        source => NativeError::Interrupted { file, source },
    }
}

/// A URL to read an object that a status names; `None` when that is no key.
pub(super) async fn sign_get(
    app: &App,
    key: &str,
    audience: &Audience,
) -> Result<Option<String>, NativeError> {
    let Ok(key) = key.parse() else { return Ok(None) };
    let url = app.objects.presign_get(&key, audience, URL_LIFE, &ResponseHeaders::default()).await?;
    Ok(Some(url.into_string()))
}
