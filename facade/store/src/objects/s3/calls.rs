//! The trait's calls, one request each.

use std::ops::Range;
use std::time::Duration;

use async_trait::async_trait;
use aws_sdk_s3::primitives::ByteStream;
use aws_sdk_s3::types::{CompletedMultipartUpload, CompletedPart};
use bytes::Bytes;
use futures::StreamExt as _;
use jiff::Timestamp;

use super::answer::Asked;
use super::client::S3Store;
use super::presign::part_number;
use crate::objects::{
    Audience, ListPage, Listed, Object, ObjectError, ObjectKey, ObjectMeta, ObjectStore, Part, PresignedUrl,
    ResponseHeaders, StaleUpload,
};

#[async_trait]
impl ObjectStore for S3Store {
    async fn ping(&self) -> Result<(), ObjectError> {
        let answer = self.client.head_bucket().bucket(&*self.bucket).send().await;
        answer.map(drop).map_err(|error| self.asked("look at its bucket", "").failed(error))
    }

    async fn put(&self, key: &ObjectKey, body: Bytes, content_type: &str) -> Result<ObjectMeta, ObjectError> {
        let size = body.len() as u64;
        let answer = self
            .client
            .put_object()
            .bucket(&*self.bucket)
            .key(key.as_str())
            .content_type(content_type)
            .body(ByteStream::from(body))
            .send()
            .await
            .map_err(|error| self.asked("store", key.as_str()).failed(error))?;
        Ok(ObjectMeta { size, etag: bare(answer.e_tag()), content_type: Some(content_type.to_owned()) })
    }

    async fn get(&self, key: &ObjectKey, range: Option<Range<u64>>) -> Result<Object, ObjectError> {
        let range = range.map(byte_range).transpose()?;
        let answer = self
            .client
            .get_object()
            .bucket(&*self.bucket)
            .key(key.as_str())
            .set_range(range)
            .send()
            .await
            .map_err(|error| self.asked("read", key.as_str()).failed(error))?;
        // `bytes 0-9/1000`: a part tells the size of the whole after the slash.
        let whole = answer.content_range().and_then(|range| range.rsplit('/').next()?.parse().ok());
        let size = whole.unwrap_or_else(|| unsigned(answer.content_length()));
        let content_type = answer.content_type().map(str::to_owned);
        let meta = ObjectMeta { size, etag: bare(answer.e_tag()), content_type };
        Ok(Object { key: key.to_string(), meta, body: chunks(key, answer.body) })
    }

    async fn head(&self, key: &ObjectKey) -> Result<Option<ObjectMeta>, ObjectError> {
        let answer = self.client.head_object().bucket(&*self.bucket).key(key.as_str()).send().await;
        match answer {
            Ok(answer) => Ok(Some(ObjectMeta {
                size: unsigned(answer.content_length()),
                etag: bare(answer.e_tag()),
                content_type: answer.content_type().map(str::to_owned),
            })),
            Err(error) => match self.asked("look at", key.as_str()).failed(error) {
                ObjectError::NotFound { .. } => Ok(None),
                error => Err(error),
            },
        }
    }

    async fn delete(&self, key: &ObjectKey) -> Result<(), ObjectError> {
        let answer = self.client.delete_object().bucket(&*self.bucket).key(key.as_str()).send().await;
        absent_is_fine(answer.map(drop).map_err(|error| self.asked("delete", key.as_str()).failed(error)))
    }

    async fn list(&self, prefix: &str, after: Option<&str>, limit: u32) -> Result<ListPage, ObjectError> {
        let limit = i32::try_from(limit.clamp(1, 1000)).expect("1000 fits");
        let answer = self
            .client
            .list_objects_v2()
            .bucket(&*self.bucket)
            .prefix(prefix)
            .max_keys(limit)
            .set_start_after(after.map(str::to_owned))
            .send()
            .await
            .map_err(|error| self.asked("list its objects", "").failed(error))?;
        let listed = |object: &aws_sdk_s3::types::Object| {
            Some(Listed {
                key: object.key()?.to_owned(),
                size: unsigned(object.size()),
                modified: object.last_modified().and_then(timestamp),
            })
        };
        let objects: Vec<Listed> = answer.contents().iter().filter_map(listed).collect();
        let more = answer.is_truncated() == Some(true);
        let next = objects.last().filter(|_| more).map(|object| object.key.clone());
        Ok(ListPage { objects, next })
    }

    async fn presign_get(
        &self,
        key: &ObjectKey,
        audience: &Audience,
        expires: Duration,
        response: &ResponseHeaders,
    ) -> Result<PresignedUrl, ObjectError> {
        self.sign_get(key, audience, expires, response).await
    }

    async fn presign_put(
        &self,
        key: &ObjectKey,
        audience: &Audience,
        expires: Duration,
        content_type: Option<&str>,
    ) -> Result<PresignedUrl, ObjectError> {
        self.sign_put(key, audience, expires, content_type).await
    }

    async fn create_upload(&self, key: &ObjectKey, content_type: &str) -> Result<String, ObjectError> {
        let answer = self
            .client
            .create_multipart_upload()
            .bucket(&*self.bucket)
            .key(key.as_str())
            .content_type(content_type)
            .send()
            .await
            .map_err(|error| self.asked("begin an upload of", key.as_str()).failed(error))?;
        let missing = || ObjectError::Invalid {
            what: "the object store's answer",
            problem: format!("it began an upload of {key} without an id"),
        };
        answer.upload_id().filter(|id| !id.is_empty()).map(str::to_owned).ok_or_else(missing)
    }

    async fn presign_part(
        &self,
        key: &ObjectKey,
        upload_id: &str,
        part: u32,
        audience: &Audience,
        expires: Duration,
    ) -> Result<PresignedUrl, ObjectError> {
        self.sign_part(key, upload_id, part, audience, expires).await
    }

    async fn put_part(
        &self,
        key: &ObjectKey,
        upload_id: &str,
        part: u32,
        body: Bytes,
    ) -> Result<Part, ObjectError> {
        let answer = self
            .client
            .upload_part()
            .bucket(&*self.bucket)
            .key(key.as_str())
            .upload_id(upload_id)
            .part_number(part_number(part)?)
            .body(ByteStream::from(body))
            .send()
            .await
            .map_err(|error| self.about_upload("store a part of", key, upload_id).failed(error))?;
        Ok(Part { number: part, etag: bare(answer.e_tag()) })
    }

    async fn complete_upload(
        &self,
        key: &ObjectKey,
        upload_id: &str,
        parts: &[Part],
    ) -> Result<ObjectMeta, ObjectError> {
        let parts = completed(key, parts)?;
        let answer = self
            .client
            .complete_multipart_upload()
            .bucket(&*self.bucket)
            .key(key.as_str())
            .upload_id(upload_id)
            .multipart_upload(parts)
            .send()
            .await
            .map_err(|error| self.about_upload("complete the upload of", key, upload_id).failed(error))?;
        let meta = self.head(key).await?;
        let gone = || ObjectError::NotFound { key: key.to_string() };
        Ok(ObjectMeta { etag: bare(answer.e_tag()), ..meta.ok_or_else(gone)? })
    }

    async fn abort_upload(&self, key: &ObjectKey, upload_id: &str) -> Result<(), ObjectError> {
        let answer = self
            .client
            .abort_multipart_upload()
            .bucket(&*self.bucket)
            .key(key.as_str())
            .upload_id(upload_id)
            .send()
            .await;
        let asked = self.about_upload("abort the upload of", key, upload_id);
        absent_is_fine(answer.map(drop).map_err(|error| asked.failed(error)))
    }

    async fn stale_uploads(&self, before: Timestamp) -> Result<Vec<StaleUpload>, ObjectError> {
        let (mut stale, mut marker) = (Vec::new(), None::<(Option<String>, Option<String>)>);
        loop {
            let (key, upload) = marker.clone().unwrap_or_default();
            let answer = self
                .client
                .list_multipart_uploads()
                .bucket(&*self.bucket)
                .set_key_marker(key)
                .set_upload_id_marker(upload)
                .send()
                .await
                .map_err(|error| self.asked("list the open uploads", "").failed(error))?;
            let uploads = answer.uploads().iter().filter_map(stale_upload);
            stale.extend(uploads.filter(|upload| upload.initiated < before));
            let next = (
                answer.next_key_marker().map(str::to_owned),
                answer.next_upload_id_marker().map(str::to_owned),
            );
            // A service that does not move on would hold us for ever.
            if answer.is_truncated() != Some(true) || marker.as_ref() == Some(&next) {
                return Ok(stale);
            }
            marker = Some(next);
        }
    }
}

impl S3Store {
    fn about_upload<'a>(&'a self, what: &'static str, key: &'a ObjectKey, upload_id: &'a str) -> Asked<'a> {
        Asked { upload_id, ..self.asked(what, key.as_str()) }
    }
}

fn timestamp(time: &aws_sdk_s3::primitives::DateTime) -> Option<Timestamp> {
    Timestamp::new(time.secs(), i32::try_from(time.subsec_nanos()).ok()?).ok()
}

/// Keys that others put into the bucket may be none of ours; their uploads are not ours to abort.
fn stale_upload(upload: &aws_sdk_s3::types::MultipartUpload) -> Option<StaleUpload> {
    let initiated = upload.initiated().and_then(timestamp)?;
    let key = ObjectKey::new(upload.key()?).ok()?;
    Some(StaleUpload { key, upload_id: upload.upload_id()?.to_owned(), initiated })
}

fn completed(key: &ObjectKey, parts: &[Part]) -> Result<CompletedMultipartUpload, ObjectError> {
    let mut parts = parts.to_vec();
    parts.sort_by_key(|part| part.number);
    if parts.is_empty() {
        return Err(ObjectError::InvalidPart { key: key.to_string(), message: "there are none".to_owned() });
    }
    let part = |part: Part| -> Result<CompletedPart, ObjectError> {
        let etag = format!("\"{}\"", part.etag.trim().trim_matches('"'));
        Ok(CompletedPart::builder().part_number(part_number(part.number)?).e_tag(etag).build())
    };
    let parts = parts.into_iter().map(part).collect::<Result<Vec<_>, _>>()?;
    Ok(CompletedMultipartUpload::builder().set_parts(Some(parts)).build())
}

fn chunks(
    key: &ObjectKey,
    body: ByteStream,
) -> futures::stream::BoxStream<'static, Result<Bytes, ObjectError>> {
    let key = key.to_string();
    futures::stream::unfold(body, |mut body| async move {
        let chunk = body.next().await?;
        Some((chunk, body))
    })
    .map(move |chunk| {
        chunk.map_err(|source| ObjectError::Read { key: key.clone(), source: Box::new(source) })
    })
    .boxed()
}

fn byte_range(range: Range<u64>) -> Result<String, ObjectError> {
    if range.is_empty() {
        let problem = format!("{range:?} is empty");
        return Err(ObjectError::Invalid { what: "a range of bytes", problem });
    }
    Ok(format!("bytes={}-{}", range.start, range.end - 1))
}

fn absent_is_fine(answer: Result<(), ObjectError>) -> Result<(), ObjectError> {
    match answer {
        Err(ObjectError::NotFound { .. } | ObjectError::NoSuchUpload { .. }) => Ok(()),
        answer => answer,
    }
}

fn bare(etag: Option<&str>) -> String {
    etag.unwrap_or_default().trim_matches('"').to_owned()
}

fn unsigned(size: Option<i64>) -> u64 {
    size.and_then(|size| u64::try_from(size).ok()).unwrap_or(0)
}
