//! Where bytes come from: a GET that can begin in the middle.

use bytes::Bytes;
use futures::StreamExt;
use futures::stream::BoxStream;
use http::header::{ACCEPT_ENCODING, CONTENT_LENGTH, CONTENT_RANGE, ETAG, IF_RANGE, LAST_MODIFIED, RANGE};
use http::{HeaderMap, HeaderValue, StatusCode};
use url::Url;

use super::error::FetchError;
use crate::net::{GuardedClient, RedactedUrl, RequestError};

/// A file on a server.
pub trait Source: Sync {
    /// For messages.
    fn name(&self) -> RedactedUrl;

    /// Asks for the bytes from `from` on, under the condition that the file is still the one of `validator`.
    /// A server may answer with the whole file instead; [`Opened::start`] tells.
    fn open(
        &self,
        from: u64,
        validator: Option<&HeaderValue>,
    ) -> impl Future<Output = Result<Opened, FetchError>> + Send;
}

/// An answer, its body not yet read.
pub struct Opened {
    /// The first byte of the body in the file.
    pub start: u64,
    /// The file's size, if the server said it.
    pub total: Option<u64>,
    /// Strong ETag or date of last change.
    pub validator: Option<HeaderValue>,
    pub body: BoxStream<'static, reqwest::Result<Bytes>>,
}

/// At an address that Easel itself named, e.g. a presigned one.
pub struct PlainSource {
    pub http: reqwest::Client,
    pub url: Url,
}

impl Source for PlainSource {
    fn name(&self) -> RedactedUrl {
        (&self.url).into()
    }

    async fn open(&self, from: u64, validator: Option<&HeaderValue>) -> Result<Opened, FetchError> {
        let request = self.http.get(self.url.clone()).headers(range_headers(from, validator));
        let sent = request.send().await;
        let response =
            sent.map_err(|error| FetchError::Connect { url: self.name(), source: error.without_url() })?;
        understand(self.name(), from, response)
    }
}

/// At an address that a user named.
pub struct GuardedSource {
    pub client: GuardedClient,
    pub url: Url,
    /// Go only to the server that the user named.
    pub secrets: HeaderMap,
}

impl Source for GuardedSource {
    fn name(&self) -> RedactedUrl {
        (&self.url).into()
    }

    async fn open(&self, from: u64, validator: Option<&HeaderValue>) -> Result<Opened, FetchError> {
        let sent = self.client.get(&self.url, &range_headers(from, validator), &self.secrets).await;
        let response = sent.map_err(|error| match error {
            RequestError::Refused(refusal) => FetchError::Refused(refusal),
            RequestError::Http { url, source } => FetchError::Connect { url, source },
        })?;
        understand(self.name(), from, response)
    }
}

fn range_headers(from: u64, validator: Option<&HeaderValue>) -> HeaderMap {
    let mut headers = HeaderMap::new();
    // Sizes, ranges and hashes are those of the file, not of a compressed form of it.
    headers.insert(ACCEPT_ENCODING, HeaderValue::from_static("identity"));
    if from > 0 {
        let range = HeaderValue::try_from(format!("bytes={from}-"));
        headers.insert(RANGE, range.expect("digits are a header value"));
        if let Some(validator) = validator {
            headers.insert(IF_RANGE, validator.clone());
        }
    }
    headers
}

fn understand(url: RedactedUrl, from: u64, response: reqwest::Response) -> Result<Opened, FetchError> {
    let headers = response.headers();
    let text = |name| headers.get(name).and_then(|value: &HeaderValue| value.to_str().ok());
    let (start, total) = match response.status() {
        StatusCode::OK => (0, text(CONTENT_LENGTH).and_then(|length| length.parse().ok())),
        StatusCode::PARTIAL_CONTENT => match text(CONTENT_RANGE).and_then(parse_content_range) {
            Some((start, total)) if start == from => (start, total),
            _ => return Err(FetchError::WrongRange { url, asked: from }),
        },
        // Nothing lies beyond `from`: either all is there, or the file shrank.
        StatusCode::RANGE_NOT_SATISFIABLE if from > 0 => {
            let size = text(CONTENT_RANGE).and_then(|range| range.strip_prefix("bytes */")?.parse().ok());
            match size {
                Some(size) if size == from => (from, Some(size)),
                _ => return Err(FetchError::WrongRange { url, asked: from }),
            }
        }
        status => return Err(FetchError::Status { url, status }),
    };
    let validator = strong_validator(headers);
    let body = match response.status() {
        StatusCode::RANGE_NOT_SATISFIABLE => futures::stream::empty().boxed(),
        _ => response.bytes_stream().boxed(),
    };
    Ok(Opened { start, total, validator, body })
}

/// `bytes 5-9/10` is `(5, Some(10))`.
fn parse_content_range(value: &str) -> Option<(u64, Option<u64>)> {
    let (range, total) = value.strip_prefix("bytes ")?.split_once('/')?;
    let (start, _) = range.split_once('-')?;
    Some((start.parse().ok()?, total.parse().ok()))
}

/// What `If-Range` accepts: a weak ETag promises nothing about bytes (RFC 9110, 13.1.5).
fn strong_validator(headers: &HeaderMap) -> Option<HeaderValue> {
    let etag = headers.get(ETAG).filter(|etag| etag.as_bytes().starts_with(b"\""));
    etag.or_else(|| headers.get(LAST_MODIFIED)).cloned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn content_ranges_are_read_strictly() {
        for (value, want) in [
            ("bytes 5-9/10", Some((5, Some(10)))),
            ("bytes 0-0/*", Some((0, None))),
            ("bytes */10", None),
            ("items 5-9/10", None),
            ("bytes -9/10", None),
            ("", None),
        ] {
            assert_eq!(parse_content_range(value), want, "{value}");
        }
    }

    #[test]
    fn a_weak_etag_is_no_validator() {
        let with = |name: http::HeaderName, value: &'static str| {
            strong_validator(&HeaderMap::from_iter([(name, HeaderValue::from_static(value))]))
        };
        assert_eq!(with(ETAG, "\"abc\""), Some(HeaderValue::from_static("\"abc\"")));
        assert_eq!(with(ETAG, "W/\"abc\""), None);
        assert!(with(LAST_MODIFIED, "Sat, 21 Nov 2026 10:00:00 GMT").is_some());
    }
}
