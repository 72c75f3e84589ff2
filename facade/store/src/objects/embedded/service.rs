//! The service as others see it: opened over a directory, called with HTTP requests.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode};
use s3s::auth::SimpleAuth;
use s3s::service::{S3Service, S3ServiceBuilder};
use url::Url;

use super::backend::Backend;
use super::cors;
use super::credentials::{EmbeddedCredentials, load, load_or_make};
use super::files::Files;
use crate::objects::S3Options;

/// The body of an answer: streamed from the file.
pub type S3Body = s3s::Body;

/// The embedded store cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum EmbeddedError {
    #[error("\"{bucket}\" is no name of a bucket: 3 to 63 of a-z, 0-9, \"-\" and \".\" are needed")]
    Bucket { bucket: String },
    #[error("{directory} is in use by another process")]
    InUse { directory: PathBuf },
    #[error("cannot use the directory {directory}")]
    Directory { directory: PathBuf, source: io::Error },
}

impl EmbeddedError {
    /// Does trying again make sense?
    pub fn retriable(&self) -> bool {
        match self {
            Self::Bucket { .. } | Self::Directory { .. } => false,
            // The process before us may still be ending.
            Self::InUse { .. } => true,
        }
    }
}

/// An S3 service with one bucket over a directory. Clones are the same service.
#[derive(Clone)]
pub struct EmbeddedS3 {
    inner: Arc<Inner>,
}

struct Inner {
    bucket: String,
    credentials: EmbeddedCredentials,
    service: S3Service,
}

impl EmbeddedS3 {
    /// What its signatures name as region.
    pub const REGION: &'static str = "us-east-1";

    /// Opens the directory, which belongs to this process from now on; makes it, its bucket and credentials
    /// at the first start.
    pub async fn open(directory: &Path, bucket: &str) -> Result<Self, EmbeddedError> {
        if !s3s::path::check_bucket_name(bucket) {
            return Err(EmbeddedError::Bucket { bucket: bucket.chars().take(80).collect() });
        }
        let directory = directory.to_owned();
        let work = {
            let directory = directory.clone();
            move || {
                let files = Files::open(&directory)?;
                let credentials = load_or_make(&directory)?;
                Ok((files, credentials))
            }
        };
        let (files, credentials) =
            super::files::blocking(work).await.map_err(|source| match source.kind() {
                io::ErrorKind::WouldBlock => EmbeddedError::InUse { directory: directory.clone() },
                _ => EmbeddedError::Directory { directory: directory.clone(), source },
            })?;
        let mut builder = S3ServiceBuilder::new(Backend::new(files, bucket));
        builder.set_auth(SimpleAuth::from(&credentials));
        let service = builder.build();
        Ok(Self { inner: Arc::new(Inner { bucket: bucket.to_owned(), credentials, service }) })
    }

    /// How a client in another process reaches the service that has this directory open, at `endpoint`.
    ///
    /// # Errors
    /// [`EmbeddedError::Directory`] when the service was never started there, or its credentials cannot be read.
    pub fn client_options(directory: &Path, bucket: &str, endpoint: Url) -> Result<S3Options, EmbeddedError> {
        let failed = |source| EmbeddedError::Directory { directory: directory.to_owned(), source };
        let EmbeddedCredentials { access_key_id, secret_access_key } = load(directory).map_err(failed)?;
        Ok(S3Options {
            endpoint,
            worker_endpoint: None,
            public_endpoint: None,
            region: Self::REGION.to_owned(),
            bucket: bucket.to_owned(),
            path_style: true,
            access_key_id,
            secret_access_key,
        })
    }

    /// The bucket's name: the first component of every path that belongs to this service.
    pub fn bucket(&self) -> &str {
        &self.inner.bucket
    }

    pub(crate) fn credentials(&self) -> &EmbeddedCredentials {
        &self.inner.credentials
    }

    /// Answers a request to `/<bucket>` or `/<bucket>/<key>`. Its path, query and `Host` have to be what the
    /// client sent, since they are what it signed. Always answers: errors are S3's XML.
    pub async fn call<B>(&self, request: Request<B>) -> Response<S3Body>
    where
        B: http_body::Body<Data = Bytes> + Send + 'static,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        if request.method() == Method::OPTIONS {
            return cors::preflight(request.headers());
        }
        let request = request.map(|body| {
            let body = http_body_util::BodyExt::map_err(body, Into::<s3s::StdError>::into);
            S3Body::http_body_unsync(body)
        });
        let mut response = self.inner.service.call(request).await.unwrap_or_else(|error| {
            tracing::error!(error = ?error, "the embedded object store failed to answer");
            let mut response = Response::new(S3Body::empty());
            *response.status_mut() = StatusCode::INTERNAL_SERVER_ERROR;
            response
        });
        cors::allow(response.headers_mut());
        response
    }
}

/// Without the secret.
impl std::fmt::Debug for EmbeddedS3 {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("EmbeddedS3").field("bucket", &self.inner.bucket).finish_non_exhaustive()
    }
}
