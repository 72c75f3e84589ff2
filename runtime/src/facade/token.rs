//! The worker's ServiceAccount token, which Kubernetes rewrites while the pod runs.

use std::path::PathBuf;

use http::HeaderValue;

use super::error::CallError;

/// A file with a token, read anew for every call.
#[derive(Debug, Clone)]
pub struct TokenFile(PathBuf);

impl TokenFile {
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self(path.into())
    }

    /// The `Authorization` header of the token as it is now.
    ///
    /// # Errors
    /// [`CallError::Token`] when the file is not there or holds no token.
    pub async fn header(&self) -> Result<HeaderValue, CallError> {
        let unreadable = |source| CallError::Token { path: self.0.clone(), source };
        let text = tokio::fs::read_to_string(&self.0).await.map_err(unreadable)?;
        let mut value = HeaderValue::try_from(format!("Bearer {}", text.trim()))
            .map_err(|error| unreadable(std::io::Error::other(error)))?;
        value.set_sensitive(true);
        Ok(value)
    }
}
