//! Where bytes come from: a GET that can begin in the middle.

use bytes::Bytes;
use futures::StreamExt;
use futures::stream::BoxStream;
use http::header::{
    ACCEPT_ENCODING, ACCEPT_RANGES, CONTENT_LENGTH, CONTENT_RANGE, ETAG, IF_RANGE, LAST_MODIFIED, RANGE,
};
use http::{HeaderMap, HeaderValue, StatusCode};
use url::Url;

use super::error::FetchError;
use crate::net::{GuardedClient, RedactedUrl, RequestError};

/// Which bytes to ask for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Span {
    pub from: u64,
    /// The first byte after the span; `None`: up to the file's end.
    pub to: Option<u64>,
}

impl Span {
    /// All from `from` on.
    pub fn after(from: u64) -> Self {
        Self { from, to: None }
    }
}

/// A file on a server.
pub trait Source: Sync {
    /// For messages.
    fn name(&self) -> RedactedUrl;

    /// Asks for the bytes of `span`, under the condition that the file is still the one of `validator`.
    /// A server may answer with the whole file instead; [`Opened::start`] tells.
    fn open(
        &self,
        span: Span,
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
    /// The server says that it can be asked for parts of the file.
    pub ranges: bool,
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

    async fn open(&self, span: Span, validator: Option<&HeaderValue>) -> Result<Opened, FetchError> {
        let request = self.http.get(self.url.clone()).headers(range_headers(span, validator));
        let sent = request.send().await;
        let response =
            sent.map_err(|error| FetchError::Connect { url: self.name(), source: error.without_url() })?;
        understand(self.name(), span, response)
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

    async fn open(&self, span: Span, validator: Option<&HeaderValue>) -> Result<Opened, FetchError> {
        let sent = self.client.get(&self.url, &range_headers(span, validator), &self.secrets).await;
        let response = sent.map_err(|error| match error {
            RequestError::Refused(refusal) => FetchError::Refused(refusal),
            RequestError::Http { url, source } => FetchError::Connect { url, source },
        })?;
        understand(self.name(), span, response)
    }
}

fn range_headers(span: Span, validator: Option<&HeaderValue>) -> HeaderMap {
    let mut headers = HeaderMap::new();
    // Sizes, ranges and hashes are those of the file, not of a compressed form of it.
    headers.insert(ACCEPT_ENCODING, HeaderValue::from_static("identity"));
    let Span { from, to } = span;
    if from > 0 || to.is_some() {
        let range = match to {
            Some(to) => format!("bytes={from}-{}", to.saturating_sub(1)),
            None => format!("bytes={from}-"),
        };
        let range = HeaderValue::try_from(range);
        headers.insert(RANGE, range.expect("digits are a header value"));
        if let Some(validator) = validator {
            headers.insert(IF_RANGE, validator.clone());
        }
    }
    headers
}

fn understand(url: RedactedUrl, span: Span, response: reqwest::Response) -> Result<Opened, FetchError> {
    let Span { from, to } = span;
    let headers = response.headers();
    let text = |name| headers.get(name).and_then(|value: &HeaderValue| value.to_str().ok());
    let (start, total) = match response.status() {
        StatusCode::OK => (0, text(CONTENT_LENGTH).and_then(|length| length.parse().ok())),
        StatusCode::PARTIAL_CONTENT => match text(CONTENT_RANGE).and_then(parse_content_range) {
            Some(Answered { start, end, total }) if start == from && to.is_none_or(|to| end <= to) => {
                (start, total)
            }
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
    let ranges = response.status() != StatusCode::OK
        || text(ACCEPT_RANGES).is_some_and(|units| units.eq_ignore_ascii_case("bytes"));
    let body = match response.status() {
        StatusCode::RANGE_NOT_SATISFIABLE => futures::stream::empty().boxed(),
        _ => response.bytes_stream().boxed(),
    };
    Ok(Opened { start, total, validator, ranges, body })
}

/// What a `Content-Range` says.
#[derive(Debug, PartialEq, Eq)]
struct Answered {
    start: u64,
    /// The first byte after the span.
    end: u64,
    total: Option<u64>,
}

/// `bytes 5-9/10` are the bytes from 5 up to, not including, 10, of 10.
fn parse_content_range(value: &str) -> Option<Answered> {
    let (range, total) = value.strip_prefix("bytes ")?.split_once('/')?;
    let (start, last) = range.split_once('-')?;
    let (start, last): (u64, u64) = (start.parse().ok()?, last.parse().ok()?);
    let total = total.parse().ok();
    let end = last.checked_add(1)?;
    (start < end && total.is_none_or(|total| end <= total)).then_some(Answered { start, end, total })
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
            ("bytes 5-9/10", Some((5, 10, Some(10)))),
            ("bytes 0-0/*", Some((0, 1, None))),
            ("bytes 5-10/10", None),
            ("bytes 5-4/10", None),
            ("bytes 0-18446744073709551615/*", None),
            ("bytes */10", None),
            ("items 5-9/10", None),
            ("bytes -9/10", None),
            ("", None),
        ] {
            let got = parse_content_range(value).map(|range| (range.start, range.end, range.total));
            assert_eq!(got, want, "{value}");
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
