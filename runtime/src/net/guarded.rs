//! The guarded client: fetches what users name, and reaches nothing that a user should not reach through us.
//!
//! Addresses are judged where the connection is made, so a name cannot resolve to one address for the check and
//! to another for the connection. Redirects are followed by hand, at most [`MAX_REDIRECTS`], each target judged
//! like the first one.

use std::error::Error;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use http::HeaderMap;
use http::header::LOCATION;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use url::{Host, Url};

use super::address::AddressPolicy;
use super::client::USER_AGENT;
use super::redacted::RedactedUrl;

/// Real model hubs need two: to the region, and to the presigned address.
const MAX_REDIRECTS: usize = 5;

/// Why an address was not asked. All of them are permanent: the URL has to change, or the list of exceptions.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum GuardError {
    #[error("{url}: only http and https addresses are fetched")]
    Scheme { url: RedactedUrl },
    #[error(
        "{host} is the {kind} address {address}; only public addresses are fetched (an administrator can allow \
         networks with EASEL_ALLOWED_CIDRS)"
    )]
    Address { host: String, address: IpAddr, kind: &'static str },
    #[error("{url}: more than {MAX_REDIRECTS} redirects")]
    TooManyRedirects { url: RedactedUrl },
    #[error("{url}: the redirect names no usable address")]
    BadRedirect { url: RedactedUrl },
}

impl GuardError {
    /// Stable word for statuses.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::Scheme { .. } => "UrlSchemeRefused",
            Self::Address { .. } => "UrlAddressRefused",
            Self::TooManyRedirects { .. } | Self::BadRedirect { .. } => "UrlRedirectRefused",
        }
    }
}

/// What a request can fail with before there is a response.
#[derive(Debug, thiserror::Error)]
pub enum RequestError {
    #[error(transparent)]
    Refused(#[from] GuardError),
    #[error("{url}: no answer")]
    Http { url: RedactedUrl, source: reqwest::Error },
}

/// A client for URLs that users name.
#[derive(Debug, Clone)]
pub struct GuardedClient {
    http: reqwest::Client,
    policy: Arc<AddressPolicy>,
}

impl GuardedClient {
    /// # Errors
    /// TLS cannot be set up.
    pub fn new(policy: AddressPolicy) -> reqwest::Result<Self> {
        let policy = Arc::new(policy);
        let http = reqwest::Client::builder()
            .user_agent(USER_AGENT)
            .redirect(reqwest::redirect::Policy::none())
            .no_proxy()
            .connect_timeout(Duration::from_secs(15))
            .dns_resolver(GuardedResolver { policy: policy.clone() })
            .build()?;
        Ok(Self { http, policy })
    }

    /// Sends a GET and follows redirects. `headers` go to every hop, `secrets` only to the host, port and scheme
    /// that the user named.
    ///
    /// # Errors
    /// [`RequestError::Refused`] when the guard said no; otherwise the transport failed.
    pub async fn get(
        &self,
        url: &Url,
        headers: &HeaderMap,
        secrets: &HeaderMap,
    ) -> Result<reqwest::Response, RequestError> {
        let mut hop = url.clone();
        for _ in 0..=MAX_REDIRECTS {
            self.check(&hop)?;
            let mut request = self.http.get(hop.clone()).headers(headers.clone());
            if hop.origin() == url.origin() {
                request = request.headers(secrets.clone());
            }
            let response = request.send().await.map_err(|error| unwrap_refusal(&hop, error))?;
            if !is_redirect(response.status()) {
                return Ok(response);
            }
            let target = response.headers().get(LOCATION).and_then(|value| value.to_str().ok());
            let next = target.and_then(|target| hop.join(target).ok());
            hop = next.ok_or(GuardError::BadRedirect { url: (&hop).into() })?;
        }
        Err(GuardError::TooManyRedirects { url: url.into() }.into())
    }

    /// The checks that need no connection. An address written as digits never meets the resolver.
    fn check(&self, url: &Url) -> Result<(), GuardError> {
        if !matches!(url.scheme(), "http" | "https") {
            return Err(GuardError::Scheme { url: url.into() });
        }
        let address = match url.host() {
            Some(Host::Ipv4(address)) => IpAddr::from(address),
            Some(Host::Ipv6(address)) => IpAddr::from(address),
            Some(Host::Domain(_)) => return Ok(()),
            None => return Err(GuardError::BadRedirect { url: url.into() }),
        };
        match self.policy.refusal(address) {
            Some(kind) => Err(GuardError::Address { host: address.to_string(), address, kind }),
            None => Ok(()),
        }
    }
}

fn is_redirect(status: http::StatusCode) -> bool {
    matches!(status.as_u16(), 301 | 302 | 303 | 307 | 308)
}

/// The resolver's refusal comes back wrapped in the client's error.
fn unwrap_refusal(url: &Url, error: reqwest::Error) -> RequestError {
    let mut cause: Option<&(dyn Error + 'static)> = Some(&error);
    while let Some(inner) = cause {
        if let Some(refusal) = inner.downcast_ref::<GuardError>() {
            return refusal.clone().into();
        }
        cause = inner.source();
    }
    RequestError::Http { url: url.into(), source: error.without_url() }
}

/// Resolves names with the system's resolver and passes only addresses on that may be reached.
#[derive(Debug)]
struct GuardedResolver {
    policy: Arc<AddressPolicy>,
}

impl Resolve for GuardedResolver {
    fn resolve(&self, name: Name) -> Resolving {
        let policy = self.policy.clone();
        Box::pin(async move {
            let found: Vec<SocketAddr> = tokio::net::lookup_host((name.as_str(), 0)).await?.collect();
            let refused = found.iter().find_map(|socket| {
                let address = socket.ip();
                let kind = policy.refusal(address)?;
                Some(GuardError::Address { host: name.as_str().to_owned(), address, kind })
            });
            let good: Vec<_> =
                found.into_iter().filter(|socket| policy.refusal(socket.ip()).is_none()).collect();
            match refused {
                Some(refusal) if good.is_empty() => Err(refusal.into()),
                _ => Ok(Box::new(good.into_iter()) as Addrs),
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn client(allowed: &str) -> GuardedClient {
        crate::net::install_tls();
        GuardedClient::new(allowed.parse().unwrap()).unwrap()
    }

    #[test]
    fn digits_in_any_spelling_are_judged() {
        let guard = client("");
        for url in [
            "http://127.0.0.1/",
            "http://127.1/",
            "http://2130706433/",
            "http://0x7f000001/",
            "http://0177.0.0.1/",
            "http://[::1]/",
            "http://[::ffff:127.0.0.1]/",
            "http://[::ffff:7f00:1]:8080/",
            "https://169.254.169.254/latest/meta-data/",
            "http://0xa9fea9fe/",
            "http://0/",
            "http://①②⑦.0.0.1/",
        ] {
            let url = Url::parse(url).unwrap();
            assert!(matches!(guard.check(&url), Err(GuardError::Address { .. })), "{url}");
        }
        for url in ["ftp://example.com/", "file:///etc/passwd", "gopher://1.1.1.1/", "data:text/plain,x"] {
            let url = Url::parse(url).unwrap();
            assert!(matches!(guard.check(&url), Err(GuardError::Scheme { .. })), "{url}");
        }
        assert_eq!(guard.check(&Url::parse("https://1.1.1.1/").unwrap()), Ok(()));
    }

    #[tokio::test]
    async fn a_name_that_resolves_to_loopback_is_refused_at_the_connection() {
        let url = Url::parse("http://localhost:9/").unwrap();
        let none = HeaderMap::new();
        let error = client("").get(&url, &none, &none).await.unwrap_err();
        match error {
            RequestError::Refused(GuardError::Address { host, address, kind }) => {
                assert_eq!((host.as_str(), address.is_loopback(), kind), ("localhost", true, "loopback"));
            }
            other => panic!("{other:?}"),
        }
    }
}
