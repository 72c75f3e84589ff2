//! A URL as it may stand in a log or a message.

use std::fmt;

use url::Url;

/// Scheme, host, port and path. User, password, query and fragment carry secrets and are dropped.
#[derive(Clone, PartialEq, Eq)]
pub struct RedactedUrl(String);

impl From<&Url> for RedactedUrl {
    fn from(url: &Url) -> Self {
        let host = url.host_str().unwrap_or_default();
        let port = url.port().map(|port| format!(":{port}")).unwrap_or_default();
        Self(format!("{}://{host}{port}{}", url.scheme(), url.path()))
    }
}

impl fmt::Display for RedactedUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for RedactedUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_of_a_url_are_not_shown() {
        let url = Url::parse("https://user:pass@example.com:8443/a/b.bin?X-Amz-Signature=abc#frag").unwrap();
        assert_eq!(RedactedUrl::from(&url).to_string(), "https://example.com:8443/a/b.bin");
    }
}
