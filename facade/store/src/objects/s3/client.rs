//! Which service, which bucket, which addresses.

use std::sync::Arc;
use std::time::Duration;

use aws_credential_types::Credentials;
use aws_sdk_s3::Client;
use aws_sdk_s3::config::retry::RetryConfig;
use aws_sdk_s3::config::timeout::TimeoutConfig;
use aws_sdk_s3::config::{
    BehaviorVersion, Config, Region, RequestChecksumCalculation, ResponseChecksumValidation,
    SharedHttpClient, StalledStreamProtectionConfig,
};
use aws_smithy_http_client::tls;
use secrecy::{ExposeSecret as _, SecretString};
use url::Url;

use super::answer::Asked;
use crate::objects::embedded::InProcess;
use crate::objects::{Audience, EmbeddedS3, ObjectError};

/// Address of the embedded store in the requests that never leave the process.
const IN_PROCESS: &str = "http://embedded.invalid";
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// Until an answer begins. Completing an upload of tens of gigabytes is what takes long: the embedded store
/// copies the parts, others may too.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(300);
/// The first one counts.
const TRIES: u32 = 4;

/// An S3 service that was there before us.
#[derive(Clone, Debug)]
pub struct S3Options {
    /// Where this process reaches it.
    pub endpoint: Url,
    /// Where pods reach it; unset: at `endpoint`.
    pub worker_endpoint: Option<Url>,
    /// Where clients reach it; unset: at `endpoint`.
    pub public_endpoint: Option<Url>,
    pub region: String,
    pub bucket: String,
    /// `https://host/bucket/key` rather than `https://bucket.host/key`.
    pub path_style: bool,
    pub access_key_id: String,
    pub secret_access_key: SecretString,
}

/// The object store in one bucket of an S3 service. Clones share the connections.
#[derive(Clone, Debug)]
pub struct S3Store {
    pub(super) client: Client,
    pub(super) bucket: Arc<str>,
    worker: Url,
    public: Public,
}

#[derive(Clone, Debug)]
enum Public {
    Address(Url),
    /// The service answers on every address that this process has; the one here is for want of a better.
    OriginOr(Url),
}

impl S3Store {
    /// A client of the service. No request is made.
    ///
    /// # Errors
    /// [`ObjectError::Invalid`] names the option that is not usable.
    pub fn connect(options: &S3Options) -> Result<Self, ObjectError> {
        let http = aws_smithy_http_client::Builder::new()
            .tls_provider(tls::Provider::Rustls(tls::rustls_provider::CryptoMode::Ring))
            .build_https();
        for url in
            [Some(&options.endpoint), options.worker_endpoint.as_ref(), options.public_endpoint.as_ref()]
        {
            url.map_or(Ok(()), check_address)?;
        }
        let key = (options.access_key_id.as_str(), &options.secret_access_key);
        let config = config(&options.endpoint, &options.region, options.path_style, key, http);
        let or_own = |url: &Option<Url>| url.clone().unwrap_or_else(|| options.endpoint.clone());
        Ok(Self {
            client: Client::from_conf(config),
            bucket: options.bucket.as_str().into(),
            worker: or_own(&options.worker_endpoint),
            public: Public::Address(or_own(&options.public_endpoint)),
        })
    }

    /// A client of the embedded service. Its own calls stay in the process; workers are sent to `worker`,
    /// clients to `public`, or where their own request went if that is unset.
    ///
    /// # Errors
    /// [`ObjectError::Invalid`] when an address is no plain http or https address.
    pub fn embedded(s3: &EmbeddedS3, worker: Url, public: Option<Url>) -> Result<Self, ObjectError> {
        check_address(&worker)?;
        public.as_ref().map_or(Ok(()), check_address)?;
        let endpoint = IN_PROCESS.parse().expect("the constant is a URL");
        let credentials = s3.credentials();
        let key = (credentials.access_key_id.as_str(), &credentials.secret_access_key);
        let http = SharedHttpClient::new(InProcess::new(s3.clone()));
        Ok(Self {
            client: Client::from_conf(config(&endpoint, EmbeddedS3::REGION, true, key, http)),
            bucket: s3.bucket().into(),
            public: public.map_or_else(|| Public::OriginOr(worker.clone()), Public::Address),
            worker,
        })
    }

    /// Where the audience finds the service.
    ///
    /// # Errors
    /// [`ObjectError::Invalid`] when the origin given is no http or https address.
    pub(super) fn address<'a>(&'a self, audience: &'a Audience) -> Result<&'a Url, ObjectError> {
        match (audience, &self.public) {
            (Audience::Worker, _) => Ok(&self.worker),
            (Audience::Public(_), Public::Address(url)) => Ok(url),
            (Audience::Public(Some(origin)), Public::OriginOr(_)) => check_address(origin).map(|()| origin),
            (Audience::Public(None), Public::OriginOr(url)) => Ok(url),
        }
    }

    pub(super) fn asked<'a>(&'a self, what: &'static str, key: &'a str) -> Asked<'a> {
        Asked { what, key, upload_id: "", bucket: &self.bucket }
    }
}

/// S3's addresses have no path of their own: signatures are made over the whole path.
fn check_address(url: &Url) -> Result<(), ObjectError> {
    let problem = if !matches!(url.scheme(), "http" | "https") || url.host().is_none() {
        "it has to be an http or https address"
    } else if !matches!(url.path(), "" | "/") || url.query().is_some() {
        "it may have neither path nor query"
    } else if !url.username().is_empty() || url.password().is_some() {
        "it may hold no credentials"
    } else {
        return Ok(());
    };
    // The address may hold credentials.
    Err(ObjectError::Invalid { what: "an address of the object store", problem: problem.to_owned() })
}

fn config(
    endpoint: &Url,
    region: &str,
    path_style: bool,
    (access_key_id, secret): (&str, &SecretString),
    http: SharedHttpClient,
) -> Config {
    let timeouts =
        TimeoutConfig::builder().connect_timeout(CONNECT_TIMEOUT).read_timeout(ANSWER_TIMEOUT).build();
    let credentials = Credentials::new(access_key_id, secret.expose_secret(), None, None, "easel");
    Config::builder()
        .behavior_version(BehaviorVersion::v2026_01_12())
        .endpoint_url(endpoint.as_str())
        .region(Region::new(region.to_owned()))
        .force_path_style(path_style)
        .credentials_provider(credentials)
        // A presigned PUT that asked for a checksum could be used by no plain client; and services other
        // than AWS differ in which checksums they know.
        .request_checksum_calculation(RequestChecksumCalculation::WhenRequired)
        .response_checksum_validation(ResponseChecksumValidation::WhenRequired)
        .retry_config(RetryConfig::standard().with_max_attempts(TRIES))
        .timeout_config(timeouts)
        .stalled_stream_protection(StalledStreamProtectionConfig::enabled().build())
        .http_client(http)
        .build()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_scheme_host_and_port() {
        let cases = [
            ("http://minio:9000", true),
            ("https://s3.example.org/", true),
            ("http://h/prefix", false),
            ("http://h/?a=b", false),
            ("http://user:pw@h", false),
            ("ftp://h", false),
            ("file:///x", false),
        ];
        for (url, good) in cases {
            assert_eq!(check_address(&url.parse().unwrap()).is_ok(), good, "{url}");
        }
    }
}
