//! The address of an object in a bucket that is not ours: signed with the bucket's own credentials, or plain.
//!
//! AWS is addressed by host name, as it asks for; other services, and buckets whose dots no certificate covers, by path
//! (Amazon S3 User Guide, "Virtual hosting of buckets").

use easel_store::objects::{Audience, ObjectKey, ObjectStore, ResponseHeaders, S3Options, S3Store};
use secrecy::SecretString;
use url::Url;

use super::error::WorkerError;
use super::models::URL_LIFE;
use crate::catalog::S3View;

/// Region of services that have none, and AWS's own first.
const DEFAULT_REGION: &str = "us-east-1";

/// A URL for a GET without any header; signed if there are credentials (key id and secret).
///
/// # Errors
/// [`WorkerError::NothingToImport`] names the field that is not usable.
pub(super) async fn address(
    source: &S3View,
    credentials: Option<&(String, SecretString)>,
) -> Result<String, WorkerError> {
    let key: ObjectKey = source.key.parse().map_err(|_| {
        invalid(format!("spec.source.s3.key is {:?}: that is no key of an object", source.key))
    })?;
    let region = source.region.as_deref().unwrap_or(DEFAULT_REGION);
    let endpoint = endpoint(source, region)?;
    let path_style = source.endpoint.is_some() || source.bucket.contains('.');
    let Some((access_key_id, secret_access_key)) = credentials else {
        return plain(endpoint, source, path_style);
    };
    let options = S3Options {
        endpoint,
        worker_endpoint: None,
        public_endpoint: None,
        region: region.to_owned(),
        bucket: source.bucket.clone(),
        path_style,
        access_key_id: access_key_id.clone(),
        secret_access_key: secret_access_key.clone(),
    };
    let unusable = |error: easel_store::objects::ObjectError| invalid(format!("spec.source.s3: {error}"));
    let store = S3Store::connect(&options).map_err(unusable)?;
    let headers = ResponseHeaders::default();
    let url = store.presign_get(&key, &Audience::Worker, URL_LIFE, &headers).await.map_err(unusable)?;
    Ok(url.into_string())
}

fn endpoint(source: &S3View, region: &str) -> Result<Url, WorkerError> {
    let text = match &source.endpoint {
        Some(endpoint) => endpoint.clone(),
        None => format!("https://s3.{region}.amazonaws.com"),
    };
    // A region goes into a host name here.
    let odd = |letter: char| !letter.is_ascii_alphanumeric() && letter != '-';
    if source.endpoint.is_none() && region.contains(odd) {
        return Err(invalid(format!("spec.source.s3.region is {region:?}: AWS has no such region")));
    }
    Url::parse(&text).map_err(|_| invalid("spec.source.s3.endpoint is no URL".to_owned()))
}

fn plain(mut endpoint: Url, source: &S3View, path_style: bool) -> Result<String, WorkerError> {
    let refused = || invalid("spec.source.s3.endpoint is no http or https address".to_owned());
    if !path_style {
        let host = format!("{}.{}", source.bucket, endpoint.host_str().unwrap_or_default());
        endpoint.set_host(Some(&host)).map_err(|_| refused())?;
    }
    let bucket = path_style.then_some(source.bucket.as_str());
    let mut path = endpoint.path_segments_mut().map_err(|()| refused())?;
    path.pop_if_empty().extend(bucket).extend(source.key.split('/'));
    drop(path);
    Ok(endpoint.into())
}

fn invalid(message: String) -> WorkerError {
    WorkerError::NothingToImport { reason: "InvalidSource", message }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(bucket: &str, endpoint: Option<&str>) -> S3View {
        S3View {
            bucket: bucket.into(),
            key: "sd/my model+1.safetensors".into(),
            region: Some("eu-central-1".into()),
            endpoint: endpoint.map(str::to_owned),
            credentials: None,
            sha256: None,
        }
    }

    #[tokio::test]
    async fn without_credentials_the_address_is_plain() {
        let file = "sd/my%20model+1.safetensors";
        for (bucket, endpoint, want) in [
            ("open", None, format!("https://open.s3.eu-central-1.amazonaws.com/{file}")),
            ("open.data", None, format!("https://s3.eu-central-1.amazonaws.com/open.data/{file}")),
            ("open", Some("http://minio:9000"), format!("http://minio:9000/open/{file}")),
        ] {
            assert_eq!(address(&source(bucket, endpoint), None).await.expect("an address"), want);
        }
    }

    #[tokio::test]
    async fn with_credentials_it_is_signed_and_shows_no_secret() {
        crate::install_crypto();
        let credentials = ("AKID".to_owned(), SecretString::from("hunter2"));
        for (bucket, endpoint, host) in [
            ("theirs", None, "https://theirs.s3.eu-central-1.amazonaws.com/sd/"),
            ("theirs", Some("http://minio:9000"), "http://minio:9000/theirs/sd/"),
        ] {
            let url = address(&source(bucket, endpoint), Some(&credentials)).await.expect("an address");
            assert!(url.starts_with(host), "{url}");
            assert!(
                url.contains("X-Amz-Credential=AKID%2F") && url.contains("%2Feu-central-1%2Fs3%2F"),
                "{url}"
            );
            assert!(url.contains("X-Amz-Signature=") && !url.contains("hunter2"), "{url}");
        }
    }

    #[tokio::test]
    async fn what_is_not_usable_is_named() {
        let region = S3View { region: Some("a.evil/".into()), ..source("open", None) };
        let key = S3View { key: "a/../b".into(), ..source("open", None) };
        let path = source("open", Some("http://h/prefix"));
        let credentials = ("AKID".to_owned(), SecretString::from("hunter2"));
        for (source, want) in [(region, "region"), (key, "key"), (path, "path")] {
            let error = address(&source, Some(&credentials)).await.expect_err(want).to_string();
            assert!(error.contains("spec.source.s3") && error.contains(want), "{error}");
        }
    }
}
