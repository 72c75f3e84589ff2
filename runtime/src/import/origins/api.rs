//! Questions to an origin's API: small answers, bounded in size and time, repeated while the other side is busy.

use std::time::Duration;

use futures::StreamExt;
use http::header::{ACCEPT_ENCODING, AUTHORIZATION, RANGE};
use http::{HeaderMap, HeaderValue, StatusCode};
use serde::de::DeserializeOwned;
use tokio::time::{sleep, timeout};
use url::Url;

use super::error::OriginError;
use crate::backoff::Backoff;
use crate::error::chain;
use crate::fetch::FetchError;
use crate::net::{GuardedClient, RequestError};

/// A page of a thousand files has half a megabyte.
const MAX_BODY: usize = 8 << 20;
/// Tries of one question before the Job's own retry takes over.
const TRIES: u32 = 4;

/// A client of one origin.
pub(super) struct Api<'a> {
    pub(super) guarded: &'a GuardedClient,
    pub(super) stall: Duration,
    /// The origin as messages name it, e.g. `Hugging Face repository a/b`.
    pub(super) what: String,
    /// Carries the token; sent to the host of the question only.
    pub(super) secrets: HeaderMap,
}

/// An answer of any status that another try would not change.
pub(super) struct Answer {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    /// Where it came from, after redirects.
    pub(super) url: Url,
    /// Empty after [`Api::probe`].
    pub(super) body: Vec<u8>,
}

impl Api<'_> {
    /// Asks and reads the whole answer.
    ///
    /// # Errors
    /// [`OriginError::Ask`] when there is no answer, [`OriginError::Answer`] when it is too long.
    pub(super) async fn ask(&self, url: &Url) -> Result<Answer, OriginError> {
        self.repeated(url, &HeaderMap::new(), true).await
    }

    /// Asks for the first byte of a file: does the origin let us have it?
    ///
    /// # Errors
    /// [`OriginError::Ask`].
    pub(super) async fn probe(&self, url: &Url) -> Result<Answer, OriginError> {
        let range = HeaderMap::from_iter([(RANGE, HeaderValue::from_static("bytes=0-0"))]);
        self.repeated(url, &range, false).await
    }

    /// What an answer of status 200 says.
    ///
    /// # Errors
    /// [`OriginError::Answer`].
    pub(super) fn read<T: DeserializeOwned>(&self, answer: &Answer) -> Result<T, OriginError> {
        serde_json::from_slice(&answer.body).map_err(|error| self.misunderstood(error.to_string()))
    }

    pub(super) fn misunderstood(&self, detail: impl Into<String>) -> OriginError {
        OriginError::Answer { what: self.what.clone(), detail: detail.into() }
    }

    /// For a status that has no better explanation.
    pub(super) fn refused(&self, answer: &Answer) -> OriginError {
        let source = FetchError::Status { url: (&answer.url).into(), status: answer.status };
        OriginError::Ask { what: self.what.clone(), source }
    }

    async fn repeated(&self, url: &Url, headers: &HeaderMap, body: bool) -> Result<Answer, OriginError> {
        let mut backoff = Backoff::new(Duration::from_millis(500), Duration::from_secs(10));
        loop {
            let error = match self.once(url, headers, body).await {
                Ok(answer) => {
                    let error = self.refused(&answer);
                    if !error.retriable() || answer.status.is_success() {
                        return Ok(answer);
                    }
                    error
                }
                Err(error) => error,
            };
            if !error.retriable() || backoff.tries() + 1 >= TRIES {
                return Err(error);
            }
            tracing::warn!(error = %chain(&error), "an origin did not answer; asking again");
            sleep(backoff.next_delay()).await;
        }
    }

    async fn once(&self, url: &Url, headers: &HeaderMap, body: bool) -> Result<Answer, OriginError> {
        let failed = |source| OriginError::Ask { what: self.what.clone(), source };
        let stalled =
            |received| failed(FetchError::Stalled { url: url.into(), silence: self.stall, received });
        let mut headers = headers.clone();
        headers.insert(ACCEPT_ENCODING, HeaderValue::from_static("identity"));
        let sent = timeout(self.stall, self.guarded.get(url, &headers, &self.secrets)).await;
        let response = sent.map_err(|_| stalled(0))?.map_err(|error| {
            failed(match error {
                RequestError::Refused(refusal) => FetchError::Refused(refusal),
                RequestError::Http { url, source } => FetchError::Connect { url, source },
            })
        })?;
        let (status, headers, at) = (response.status(), response.headers().clone(), response.url().clone());
        let body = if body { self.body(url, response).await? } else { Vec::new() };
        Ok(Answer { status, headers, url: at, body })
    }

    async fn body(&self, url: &Url, response: reqwest::Response) -> Result<Vec<u8>, OriginError> {
        let failed = |source| OriginError::Ask { what: self.what.clone(), source };
        let mut stream = response.bytes_stream();
        let mut body = Vec::new();
        loop {
            let received = body.len() as u64;
            let next = timeout(self.stall, stream.next()).await;
            let next = next.map_err(|_| {
                failed(FetchError::Stalled { url: url.into(), silence: self.stall, received })
            })?;
            let Some(chunk) = next else { return Ok(body) };
            let chunk = chunk.map_err(|error| {
                failed(FetchError::Broken { url: url.into(), received, source: error.without_url() })
            })?;
            if body.len() + chunk.len() > MAX_BODY {
                return Err(self.misunderstood(format!("it has more than {MAX_BODY} bytes")));
            }
            body.extend_from_slice(&chunk);
        }
    }
}

/// `Authorization: Bearer …`, or nothing without a token.
///
/// # Errors
/// [`OriginError::BadToken`].
pub(super) fn bearer(what: &str, token: Option<&str>) -> Result<HeaderMap, OriginError> {
    let Some(token) = token else { return Ok(HeaderMap::new()) };
    let value = HeaderValue::try_from(format!("Bearer {}", token.trim()));
    let mut value = value.map_err(|_| OriginError::BadToken { what: what.to_owned() })?;
    value.set_sensitive(true);
    Ok(HeaderMap::from_iter([(AUTHORIZATION, value)]))
}
