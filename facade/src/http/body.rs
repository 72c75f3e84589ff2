//! Reading a whole, bounded request body; and reading past one that is not wanted.

use axum::body::Body;
use bytes::{Bytes, BytesMut};
use http::HeaderMap;
use http::header::{CONTENT_LENGTH, EXPECT};
use http_body_util::BodyExt;

/// So much of an unwanted body is read and thrown away. A client that is still sending when the connection
/// closes never sees the answer; one that sends more than this is left to that.
const DISCARDED: u64 = 64 << 20;

/// Why a body could not be read.
#[derive(Debug, thiserror::Error)]
pub enum BodyError {
    #[error("the body is larger than {limit} bytes, the most that is accepted")]
    TooLarge { limit: usize },
    #[error("the body ended before it was complete")]
    Interrupted { source: axum::Error },
}

/// Reads the body if it is at most `limit` bytes long.
///
/// # Errors
/// [`BodyError::TooLarge`] once the rest has been thrown away, as far as [`discard`] does.
pub async fn read(headers: &HeaderMap, mut body: Body, limit: usize) -> Result<Bytes, BodyError> {
    if announced(headers).is_none_or(|length| length <= limit as u64)
        && let Some(whole) = collect(&mut body, limit).await?
    {
        return Ok(whole);
    }
    discard(headers, body).await;
    Err(BodyError::TooLarge { limit })
}

/// The whole body, or `None` as soon as it passes the limit.
async fn collect(body: &mut Body, limit: usize) -> Result<Option<Bytes>, BodyError> {
    let mut whole = BytesMut::new();
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|source| BodyError::Interrupted { source })?;
        let Ok(data) = frame.into_data() else { continue };
        if whole.len() + data.len() > limit {
            return Ok(None);
        }
        whole.extend_from_slice(&data);
    }
    Ok(Some(whole.freeze()))
}

/// Reads what is left of a body and throws it away, so that its sender comes to read the answer. A sender
/// that asked before sending, or that will send very much, is answered at once.
pub async fn discard(headers: &HeaderMap, mut body: Body) {
    if headers.contains_key(EXPECT) || announced(headers).is_some_and(|length| length > DISCARDED) {
        return;
    }
    let mut left = DISCARDED;
    while left > 0 {
        let Some(Ok(frame)) = body.frame().await else { return };
        left = left.saturating_sub(frame.data_ref().map_or(0, |data| data.len() as u64));
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
