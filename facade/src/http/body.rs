//! Reading a whole, bounded request body.

use axum::body::Body;
use bytes::Bytes;
use http::HeaderMap;
use http::header::CONTENT_LENGTH;
use http_body_util::{BodyExt, LengthLimitError, Limited};

/// Why a body could not be read.
#[derive(Debug, thiserror::Error)]
pub enum BodyError {
    #[error("the body is larger than {limit} bytes, the most that is accepted")]
    TooLarge { limit: usize },
    #[error("the body ended before it was complete")]
    Interrupted { source: Box<dyn std::error::Error + Send + Sync> },
}

/// Reads the body if it is at most `limit` bytes long.
///
/// # Errors
/// [`BodyError::TooLarge`] at once when the announced length says so, else when the limit is passed.
pub async fn read(headers: &HeaderMap, body: Body, limit: usize) -> Result<Bytes, BodyError> {
    if announced(headers).is_some_and(|length| length > limit as u64) {
        return Err(BodyError::TooLarge { limit });
    }
    match Limited::new(body, limit).collect().await {
        Ok(collected) => Ok(collected.to_bytes()),
        Err(source) if source.is::<LengthLimitError>() => Err(BodyError::TooLarge { limit }),
        Err(source) => Err(BodyError::Interrupted { source }),
    }
}

/// The length that the request announces.
pub fn announced(headers: &HeaderMap) -> Option<u64> {
    headers.get(CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_limit_holds_with_and_without_an_announced_length() {
        let mut headers = HeaderMap::new();
        assert_eq!(read(&headers, Body::from("12345"), 5).await.expect("fits"), "12345");
        let error = read(&headers, Body::from("123456"), 5).await.expect_err("too long");
        assert_eq!(error.to_string(), "the body is larger than 5 bytes, the most that is accepted");
        headers.insert(CONTENT_LENGTH, http::HeaderValue::from_static("6"));
        let error = read(&headers, Body::empty(), 5).await.expect_err("announced too long");
        assert!(matches!(error, BodyError::TooLarge { limit: 5 }));
    }
}
