//! The trait, and what its calls take and give.

use std::fmt;
use std::ops::Range;
use std::time::Duration;

use async_trait::async_trait;
use bytes::{Bytes, BytesMut};
use futures::StreamExt as _;
use futures::stream::BoxStream;
use jiff::Timestamp;
use url::Url;

use super::{ObjectError, ObjectKey};

/// Longest life of a presigned URL, S3's own limit: one week. Longer wishes are cut to it.
pub const MAX_EXPIRY: Duration = Duration::from_secs(7 * 86_400);

/// What is known of an object without reading it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ObjectMeta {
    pub size: u64,
    /// Without the quotes around it.
    pub etag: String,
    /// Unset where an answer does not carry it (after a write).
    pub content_type: Option<String>,
}

/// An object that is being read.
pub struct Object {
    pub key: String,
    /// `size` is that of the whole object, also when a range is read.
    pub meta: ObjectMeta,
    pub body: BoxStream<'static, Result<Bytes, ObjectError>>,
}

impl Object {
    /// Reads what is left, `max` bytes at most.
    ///
    /// # Errors
    /// [`ObjectError::TooLarge`] when there is more.
    pub async fn bytes(mut self, max: usize) -> Result<Bytes, ObjectError> {
        let mut whole = BytesMut::new();
        while let Some(chunk) = self.body.next().await {
            let chunk = chunk?;
            if whole.len() + chunk.len() > max {
                let size = self.meta.size;
                return Err(ObjectError::TooLarge { key: self.key, size, limit: max as u64 });
            }
            whole.extend_from_slice(&chunk);
        }
        Ok(whole.freeze())
    }
}

impl fmt::Debug for Object {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Object").field("key", &self.key).field("meta", &self.meta).finish_non_exhaustive()
    }
}

/// Who is to use a presigned URL, and so which address it is signed for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Audience {
    /// A pod in the cluster.
    Worker,
    /// A client outside: the configured public address, or else the origin (scheme, host, port) that the
    /// client's own request came to.
    Public(Option<Url>),
}

/// A URL that carries its own permission: a secret as long as it lives.
#[derive(Clone, PartialEq, Eq)]
pub struct PresignedUrl(String);

impl PresignedUrl {
    pub(super) fn new(url: String) -> Self {
        Self(url)
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }

    pub fn into_string(self) -> String {
        self.0
    }
}

/// Without the query, which is the secret.
impl fmt::Debug for PresignedUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let address = self.0.split('?').next().unwrap_or_default();
        write!(f, "PresignedUrl({address}?…)")
    }
}

/// Headers that a presigned GET answers with, instead of what the object was stored with.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ResponseHeaders {
    pub content_type: Option<String>,
    /// Name under which a browser would save the object.
    pub file_name: Option<String>,
}

/// A part that was uploaded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Part {
    /// From 1.
    pub number: u32,
    /// With or without quotes.
    pub etag: String,
}

/// One object of a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listed {
    pub key: String,
    pub size: u64,
    /// When it was stored whole, by the service's clock. Unset where the service does not say.
    pub modified: Option<Timestamp>,
}

/// A part of a list, in the order of the keys' bytes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ListPage {
    pub objects: Vec<Listed>,
    /// There is more: `after` of the next call.
    pub next: Option<String>,
}

/// A multipart upload that was begun and neither completed nor aborted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StaleUpload {
    pub key: ObjectKey,
    pub upload_id: String,
    pub initiated: Timestamp,
}

/// Bytes under keys. An object is there whole or not at all, and is replaced at once; but not every service notices
/// that a sender broke off (versitygw 1.8.0 does not), so what others sent has to be compared with the size announced.
#[async_trait]
pub trait ObjectStore: Send + Sync + 'static {
    /// Is the bucket there, and may we use it?
    async fn ping(&self) -> Result<(), ObjectError>;

    /// Stores a small object.
    async fn put(&self, key: &ObjectKey, body: Bytes, content_type: &str) -> Result<ObjectMeta, ObjectError>;

    /// Reads an object, or the given bytes of it.
    ///
    /// # Errors
    /// [`ObjectError::NotFound`] when it is not there.
    async fn get(&self, key: &ObjectKey, range: Option<Range<u64>>) -> Result<Object, ObjectError>;

    /// Looks at an object; `None` when it is not there.
    async fn head(&self, key: &ObjectKey) -> Result<Option<ObjectMeta>, ObjectError>;

    /// Deletes an object, if it is there.
    async fn delete(&self, key: &ObjectKey) -> Result<(), ObjectError>;

    /// Keys that begin with `prefix` and come after `after`; `limit` is 1 to 1000.
    async fn list(&self, prefix: &str, after: Option<&str>, limit: u32) -> Result<ListPage, ObjectError>;

    /// A URL to GET (or HEAD) the object.
    async fn presign_get(
        &self,
        key: &ObjectKey,
        audience: &Audience,
        expires: Duration,
        response: &ResponseHeaders,
    ) -> Result<PresignedUrl, ObjectError>;

    /// A URL to PUT the object, whole. With a content type the client has to send exactly that one.
    async fn presign_put(
        &self,
        key: &ObjectKey,
        audience: &Audience,
        expires: Duration,
        content_type: Option<&str>,
    ) -> Result<PresignedUrl, ObjectError>;

    /// Begins an upload in parts; answers with its id.
    async fn create_upload(&self, key: &ObjectKey, content_type: &str) -> Result<String, ObjectError>;

    /// A URL to PUT one part: 1 to 10,000; every part but the last has 5 MiB or more.
    async fn presign_part(
        &self,
        key: &ObjectKey,
        upload_id: &str,
        part: u32,
        audience: &Audience,
        expires: Duration,
    ) -> Result<PresignedUrl, ObjectError>;

    /// Uploads one part.
    async fn put_part(
        &self,
        key: &ObjectKey,
        upload_id: &str,
        part: u32,
        body: Bytes,
    ) -> Result<Part, ObjectError>;

    /// Makes an object of the parts, in the order of their numbers.
    ///
    /// # Errors
    /// [`ObjectError::InvalidPart`] when a part is missing, too small or another one than named;
    /// [`ObjectError::NoSuchUpload`] also when it is completed already: look for the object then.
    async fn complete_upload(
        &self,
        key: &ObjectKey,
        upload_id: &str,
        parts: &[Part],
    ) -> Result<ObjectMeta, ObjectError>;

    /// Gives an upload up, if it is open.
    async fn abort_upload(&self, key: &ObjectKey, upload_id: &str) -> Result<(), ObjectError>;

    /// Uploads that were begun before the given time and are open.
    async fn stale_uploads(&self, before: Timestamp) -> Result<Vec<StaleUpload>, ObjectError>;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_presigned_url_does_not_show_its_secret() {
        let url = PresignedUrl::new("http://h/b/k?X-Amz-Signature=secret".into());
        assert_eq!(format!("{url:?}"), "PresignedUrl(http://h/b/k?…)");
    }
}
