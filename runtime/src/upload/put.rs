//! Something small, in one request.

use std::time::Duration;

use bytes::Bytes;
use http::header::{CONTENT_LENGTH, CONTENT_TYPE};
use tokio::time::sleep;

use super::error::UploadError;
use crate::backoff::Backoff;
use crate::error::chain;

/// Tries at one address. With the delays between them about half a minute, which a restarting store needs.
pub(super) const TRIES: u32 = 7;
const PUT_TIMEOUT: Duration = Duration::from_secs(60);

/// Puts `bytes` to `url`, which was signed for `content_type`. `what`: for messages.
///
/// # Errors
/// The last fault, when the tries are used up; any fault at once that another try cannot mend.
pub async fn put(
    http: &reqwest::Client,
    url: &str,
    content_type: &'static str,
    bytes: Bytes,
    what: &str,
) -> Result<(), UploadError> {
    with_retries(async || {
        let request = http
            .put(url)
            .header(CONTENT_TYPE, content_type)
            .header(CONTENT_LENGTH, bytes.len())
            .timeout(PUT_TIMEOUT)
            .body(bytes.clone());
        answered(request, what).await.map(drop)
    })
    .await
}

/// The answer, if it is a success.
pub(super) async fn answered(
    request: reqwest::RequestBuilder,
    what: &str,
) -> Result<reqwest::Response, UploadError> {
    let sent = request.send().await;
    let failed = |error: reqwest::Error| UploadError::Send { what: what.into(), source: error.without_url() };
    let response = sent.map_err(failed)?;
    match response.status() {
        status if status.is_success() => Ok(response),
        status => Err(UploadError::Refused { what: what.into(), status }),
    }
}

pub(super) async fn with_retries<T>(
    send: impl AsyncFn() -> Result<T, UploadError>,
) -> Result<T, UploadError> {
    let mut backoff = Backoff::new(Duration::from_millis(250), Duration::from_secs(10));
    loop {
        let error = match send().await {
            Ok(done) => return Ok(done),
            Err(error) => error,
        };
        if !error.passing() || backoff.tries() + 1 >= TRIES {
            return Err(error);
        }
        tracing::warn!(error = %chain(&error), "an upload failed; trying again");
        sleep(backoff.next_delay()).await;
    }
}
