//! The HTTP connection between our own S3 client and the embedded service: a function call.

use aws_sdk_s3::primitives::SdkBody;
use aws_smithy_runtime_api::client::http::{
    HttpClient, HttpConnector, HttpConnectorFuture, HttpConnectorSettings, SharedHttpConnector,
};
use aws_smithy_runtime_api::client::orchestrator::{HttpRequest, HttpResponse};
use aws_smithy_runtime_api::client::result::ConnectorError;
use aws_smithy_runtime_api::client::runtime_components::RuntimeComponents;
use http::HeaderValue;
use http::header::HOST;

use super::EmbeddedS3;

#[derive(Clone, Debug)]
pub(crate) struct InProcess(EmbeddedS3);

impl InProcess {
    pub(crate) fn new(s3: EmbeddedS3) -> Self {
        Self(s3)
    }
}

impl HttpClient for InProcess {
    fn http_connector(&self, _: &HttpConnectorSettings, _: &RuntimeComponents) -> SharedHttpConnector {
        SharedHttpConnector::new(self.clone())
    }
}

impl HttpConnector for InProcess {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let s3 = self.0.clone();
        HttpConnectorFuture::new(async move {
            let user = |error: aws_smithy_runtime_api::http::HttpError| ConnectorError::user(error.into());
            let mut request = request.try_into_http1x().map_err(user)?;
            // A connection would have sent it, and it is signed.
            let host = request.uri().authority().map(|authority| HeaderValue::from_str(authority.as_str()));
            if let Some(Ok(host)) = host {
                request.headers_mut().entry(HOST).or_insert(host);
            }
            let response = s3.call(request).await.map(SdkBody::from_body_1_x);
            HttpResponse::try_from(response).map_err(user)
        })
    }
}
