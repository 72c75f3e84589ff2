//! What the object store says, in this API's words.

use std::time::Duration;

use easel_store::objects::PutStreamError;

use super::error::NativeError;

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
