//! What the SDK's errors mean here.

use aws_sdk_s3::config::http::HttpResponse;
use aws_sdk_s3::error::{ProvideErrorMetadata, SdkError};

use crate::objects::ObjectError;

/// What was asked, for the message.
#[derive(Clone, Copy, Debug)]
pub(super) struct Asked<'a> {
    /// A verb with its preposition, e.g. "store".
    pub(super) what: &'static str,
    /// Key of the object, or empty.
    pub(super) key: &'a str,
    pub(super) upload_id: &'a str,
    pub(super) bucket: &'a str,
}

impl Asked<'_> {
    pub(super) fn failed<E>(self, error: SdkError<E, HttpResponse>) -> ObjectError
    where
        E: ProvideErrorMetadata + std::error::Error + Send + Sync + 'static,
    {
        let Self { what, upload_id, bucket, .. } = self;
        let key = self.key.to_owned();
        let Some(status) = error.raw_response().map(|response| response.status().as_u16()) else {
            return match error {
                SdkError::ConstructionFailure(_) => ObjectError::Invalid {
                    what: "a request to the object store",
                    problem: aws_sdk_s3::error::DisplayErrorContext(&error).to_string(),
                },
                _ => ObjectError::Unreachable { what, key, source: Box::new(error) },
            };
        };
        let code = error.code().unwrap_or(if status == 404 { "NotFound" } else { "unknown" }).to_owned();
        match code.as_str() {
            "NoSuchKey" | "NotFound" if !key.is_empty() => ObjectError::NotFound { key },
            "NoSuchUpload" => ObjectError::NoSuchUpload { key, upload_id: upload_id.to_owned() },
            "InvalidPart" | "InvalidPartOrder" | "EntityTooSmall" => {
                let message = error.message().unwrap_or("it does not say why");
                ObjectError::InvalidPart { key, message: format!("{code}, {message}") }
            }
            "NoSuchBucket" | "NotFound" => ObjectError::NoBucket { bucket: bucket.to_owned() },
            "AccessDenied" | "SignatureDoesNotMatch" | "InvalidAccessKeyId" | "Forbidden" => {
                ObjectError::Denied { what, code }
            }
            _ if status == 403 => ObjectError::Denied { what, code },
            _ => ObjectError::Service { what, key, code, status, source: Box::new(error) },
        }
    }
}
