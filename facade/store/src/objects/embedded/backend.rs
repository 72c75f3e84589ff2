//! S3's calls on the files: what the trait `ObjectStore`, presigned URLs and plain S3 clients need.

use std::time::SystemTime;

use s3s::dto::*;
use s3s::{S3, S3Error, S3ErrorCode, S3Request, S3Response, S3Result, s3_error};
use tokio::io::{AsyncReadExt as _, AsyncSeekExt as _};
use tokio_util::io::ReaderStream;
use uuid::Uuid;

use super::files::{Files, WriteError, is_absent};
use super::trailer::Trailer;
use super::uploads::{NamedPart, UploadError};
use crate::objects::ObjectKey;

/// S3's own limit of a page.
const MAX_KEYS: i32 = 1000;
/// How much is read from the disk at once.
const READ_BYTES: usize = 256 << 10;

pub(super) struct Backend {
    files: Files,
    bucket: String,
}

impl Backend {
    pub(super) fn new(files: Files, bucket: &str) -> Self {
        Self { files, bucket: bucket.to_owned() }
    }

    fn check_bucket(&self, bucket: &str) -> S3Result<()> {
        if bucket == self.bucket { Ok(()) } else { Err(s3_error!(NoSuchBucket)) }
    }

    fn key(&self, bucket: &str, key: &str) -> S3Result<ObjectKey> {
        self.check_bucket(bucket)?;
        ObjectKey::new(key)
            .map_err(|error| S3Error::with_message(S3ErrorCode::InvalidArgument, error.to_string()))
    }

    async fn open(&self, key: &ObjectKey) -> S3Result<(tokio::fs::File, Trailer, Timestamp)> {
        let opened = self.files.read(self.files.path_of(key)).await;
        let (file, trailer) = opened.map_err(|error| match is_absent(&error) {
            true => s3_error!(NoSuchKey),
            false => disk(error),
        })?;
        let modified = file.metadata().and_then(|meta| meta.modified()).unwrap_or(SystemTime::UNIX_EPOCH);
        Ok((tokio::fs::File::from_std(file), trailer, Timestamp::from(modified)))
    }

    /// Writes a body aside, and checks that it is what the sender meant.
    async fn receive(
        &self,
        body: Option<StreamingBlob>,
        announced: Option<i64>,
        content_md5: Option<&str>,
        trailer: Trailer,
    ) -> S3Result<super::files::Aside> {
        let body = body.ok_or_else(|| s3_error!(IncompleteBody))?;
        let aside = self.files.write_aside(body, trailer).await.map_err(|error| match error {
            WriteError::Sender(source) => S3Error::with_source(S3ErrorCode::IncompleteBody, source),
            WriteError::Disk(error) => disk(error),
        })?;
        if announced.is_some_and(|announced| u64::try_from(announced) != Ok(aside.trailer.size)) {
            return Err(s3_error!(IncompleteBody));
        }
        if content_md5.is_some_and(|wanted| wanted != base64_of(&aside.md5)) {
            return Err(s3_error!(BadDigest));
        }
        Ok(aside)
    }
}

#[async_trait::async_trait]
impl S3 for Backend {
    async fn head_bucket(&self, req: S3Request<HeadBucketInput>) -> S3Result<S3Response<HeadBucketOutput>> {
        self.check_bucket(&req.input.bucket)?;
        Ok(S3Response::new(HeadBucketOutput::default()))
    }

    async fn put_object(&self, req: S3Request<PutObjectInput>) -> S3Result<S3Response<PutObjectOutput>> {
        let input = req.input;
        if input.if_match.is_some() || input.if_none_match.is_some() {
            return Err(s3_error!(NotImplemented, "conditional writes are not supported here"));
        }
        let key = self.key(&input.bucket, &input.key)?;
        let trailer = Trailer {
            content_type: input.content_type,
            content_disposition: input.content_disposition,
            content_encoding: input.content_encoding,
            cache_control: input.cache_control,
            metadata: input.metadata.unwrap_or_default().into_iter().collect(),
            ..Trailer::default()
        };
        let aside =
            self.receive(input.body, input.content_length, input.content_md5.as_deref(), trailer).await?;
        let trailer = self.files.place(aside, self.files.path_of(&key)).await.map_err(disk)?;
        Ok(S3Response::new(PutObjectOutput { e_tag: Some(ETag::Strong(trailer.etag)), ..Default::default() }))
    }

    async fn get_object(&self, req: S3Request<GetObjectInput>) -> S3Result<S3Response<GetObjectOutput>> {
        let input = req.input;
        let key = self.key(&input.bucket, &input.key)?;
        let (mut file, trailer, modified) = self.open(&key).await?;
        let (range, content_range) = match input.range {
            None => (0..trailer.size, None),
            Some(range) => {
                let range = range.check(trailer.size)?;
                let shown = format!("bytes {}-{}/{}", range.start, range.end - 1, trailer.size);
                (range, Some(shown))
            }
        };
        file.seek(std::io::SeekFrom::Start(range.start)).await.map_err(disk)?;
        let length = range.end - range.start;
        let body = ReaderStream::with_capacity(file.take(length), READ_BYTES);
        let output = GetObjectOutput {
            body: Some(StreamingBlob::wrap(body)),
            accept_ranges: Some("bytes".to_owned()),
            content_length: i64::try_from(length).ok(),
            content_range,
            content_type: trailer.content_type,
            content_disposition: trailer.content_disposition,
            content_encoding: trailer.content_encoding,
            cache_control: trailer.cache_control,
            e_tag: Some(ETag::Strong(trailer.etag)),
            last_modified: Some(modified),
            metadata: metadata(trailer.metadata),
            ..Default::default()
        };
        Ok(S3Response::new(output))
    }

    async fn head_object(&self, req: S3Request<HeadObjectInput>) -> S3Result<S3Response<HeadObjectOutput>> {
        let key = self.key(&req.input.bucket, &req.input.key)?;
        let (_, trailer, modified) = self.open(&key).await?;
        let output = HeadObjectOutput {
            accept_ranges: Some("bytes".to_owned()),
            content_length: i64::try_from(trailer.size).ok(),
            content_type: trailer.content_type,
            content_disposition: trailer.content_disposition,
            content_encoding: trailer.content_encoding,
            cache_control: trailer.cache_control,
            e_tag: Some(ETag::Strong(trailer.etag)),
            last_modified: Some(modified),
            metadata: metadata(trailer.metadata),
            ..Default::default()
        };
        Ok(S3Response::new(output))
    }

    async fn delete_object(
        &self,
        req: S3Request<DeleteObjectInput>,
    ) -> S3Result<S3Response<DeleteObjectOutput>> {
        let key = self.key(&req.input.bucket, &req.input.key)?;
        self.files.remove(self.files.path_of(&key)).await.map_err(disk)?;
        Ok(S3Response::with_status(DeleteObjectOutput::default(), http::StatusCode::NO_CONTENT))
    }

    async fn list_objects_v2(
        &self,
        req: S3Request<ListObjectsV2Input>,
    ) -> S3Result<S3Response<ListObjectsV2Output>> {
        let input = req.input;
        self.check_bucket(&input.bucket)?;
        if input.delimiter.as_deref().is_some_and(|delimiter| !delimiter.is_empty()) {
            return Err(s3_error!(NotImplemented, "lists by delimiter are not supported here"));
        }
        let max_keys = input.max_keys.unwrap_or(MAX_KEYS).clamp(0, MAX_KEYS);
        let limit = usize::try_from(max_keys).unwrap_or(0);
        let after = input.continuation_token.clone().or_else(|| input.start_after.clone());
        let prefix = input.prefix.clone().unwrap_or_default();
        let mut found = self.files.list(prefix, after, limit + 1).await.map_err(disk)?;
        let more = found.len() > limit;
        found.truncate(limit);
        let next = found.last().filter(|_| more).map(|object| object.key.clone());
        let contents = found.into_iter().map(|object| Object {
            key: Some(object.key),
            size: i64::try_from(object.trailer.size).ok(),
            e_tag: Some(ETag::Strong(object.trailer.etag)),
            last_modified: Some(Timestamp::from(object.modified)),
            ..Default::default()
        });
        let contents: Vec<Object> = contents.collect();
        let output = ListObjectsV2Output {
            name: Some(input.bucket),
            prefix: input.prefix,
            max_keys: Some(max_keys),
            key_count: i32::try_from(contents.len()).ok(),
            contents: Some(contents),
            continuation_token: input.continuation_token,
            start_after: input.start_after,
            is_truncated: Some(next.is_some()),
            next_continuation_token: next,
            ..Default::default()
        };
        Ok(S3Response::new(output))
    }

    async fn create_multipart_upload(
        &self,
        req: S3Request<CreateMultipartUploadInput>,
    ) -> S3Result<S3Response<CreateMultipartUploadOutput>> {
        let input = req.input;
        let key = self.key(&input.bucket, &input.key)?;
        let trailer = Trailer {
            content_type: input.content_type,
            content_disposition: input.content_disposition,
            content_encoding: input.content_encoding,
            cache_control: input.cache_control,
            metadata: input.metadata.unwrap_or_default().into_iter().collect(),
            ..Trailer::default()
        };
        let id = self.files.begin_upload(&key, trailer).await.map_err(disk)?;
        let output = CreateMultipartUploadOutput {
            bucket: Some(input.bucket),
            key: Some(input.key),
            upload_id: Some(id.to_string()),
            ..Default::default()
        };
        Ok(S3Response::new(output))
    }

    async fn upload_part(&self, req: S3Request<UploadPartInput>) -> S3Result<S3Response<UploadPartOutput>> {
        let input = req.input;
        let key = self.key(&input.bucket, &input.key)?;
        if !(1..=10_000).contains(&input.part_number) {
            return Err(s3_error!(InvalidArgument, "part numbers go from 1 to 10000"));
        }
        let id = upload_id(&input.upload_id)?;
        // Before the bytes come in, not after.
        self.files.check_upload(id, &key).await.map_err(refused)?;
        let md5 = input.content_md5.as_deref();
        let aside = self.receive(input.body, input.content_length, md5, Trailer::default()).await?;
        let trailer = self.files.place_part(aside, id, input.part_number).await.map_err(refused)?;
        Ok(S3Response::new(UploadPartOutput {
            e_tag: Some(ETag::Strong(trailer.etag)),
            ..Default::default()
        }))
    }

    async fn complete_multipart_upload(
        &self,
        req: S3Request<CompleteMultipartUploadInput>,
    ) -> S3Result<S3Response<CompleteMultipartUploadOutput>> {
        let input = req.input;
        let key = self.key(&input.bucket, &input.key)?;
        let parts = input.multipart_upload.and_then(|upload| upload.parts).unwrap_or_default();
        let named = |part: CompletedPart| {
            let number = part.part_number.ok_or_else(|| s3_error!(MalformedXML))?;
            Ok(NamedPart { number, etag: part.e_tag.map(ETag::into_value) })
        };
        let parts = parts.into_iter().map(named).collect::<S3Result<Vec<_>>>()?;
        if parts.is_empty() {
            return Err(s3_error!(MalformedXML));
        }
        let id = upload_id(&input.upload_id)?;
        let trailer = self.files.complete_upload(id, &key, parts).await.map_err(refused)?;
        let output = CompleteMultipartUploadOutput {
            bucket: Some(input.bucket),
            key: Some(input.key),
            e_tag: Some(ETag::Strong(trailer.etag)),
            ..Default::default()
        };
        Ok(S3Response::new(output))
    }

    async fn abort_multipart_upload(
        &self,
        req: S3Request<AbortMultipartUploadInput>,
    ) -> S3Result<S3Response<AbortMultipartUploadOutput>> {
        let key = self.key(&req.input.bucket, &req.input.key)?;
        let id = upload_id(&req.input.upload_id)?;
        self.files.check_upload(id, &key).await.map_err(refused)?;
        self.files.forget_upload(id).await.map_err(refused)?;
        let output = AbortMultipartUploadOutput::default();
        Ok(S3Response::with_status(output, http::StatusCode::NO_CONTENT))
    }

    async fn list_multipart_uploads(
        &self,
        req: S3Request<ListMultipartUploadsInput>,
    ) -> S3Result<S3Response<ListMultipartUploadsOutput>> {
        let input = req.input;
        self.check_bucket(&input.bucket)?;
        let prefix = input.prefix.clone().unwrap_or_default();
        let open = self.files.open_uploads().await.map_err(disk)?;
        let uploads = open.into_iter().filter(|upload| upload.key.starts_with(&prefix));
        let uploads = uploads.map(|upload| MultipartUpload {
            key: Some(upload.key),
            upload_id: Some(upload.id.to_string()),
            initiated: Some(Timestamp::from(upload.initiated)),
            ..Default::default()
        });
        // All of them: there are never many, as those that are left behind are aborted.
        let output = ListMultipartUploadsOutput {
            bucket: Some(input.bucket),
            prefix: input.prefix,
            uploads: Some(uploads.collect()),
            is_truncated: Some(false),
            ..Default::default()
        };
        Ok(S3Response::new(output))
    }
}

fn metadata(pairs: Vec<(String, String)>) -> Option<Metadata> {
    (!pairs.is_empty()).then(|| pairs.into_iter().collect())
}

fn upload_id(id: &str) -> S3Result<Uuid> {
    Uuid::parse_str(id).map_err(|_| s3_error!(NoSuchUpload))
}

fn base64_of(bytes: &[u8]) -> String {
    aws_smithy_types::base64::encode(bytes)
}

fn refused(error: UploadError) -> S3Error {
    let part = |number: i32, what: &str| format!("part {number} {what}");
    match error {
        UploadError::NotOpen => s3_error!(NoSuchUpload),
        UploadError::OutOfOrder => s3_error!(InvalidPartOrder),
        UploadError::OtherPart(number) => {
            let message = part(number, "was not uploaded, or its ETag is another one");
            S3Error::with_message(S3ErrorCode::InvalidPart, message)
        }
        UploadError::SmallPart(number) => {
            S3Error::with_message(S3ErrorCode::EntityTooSmall, part(number, "has less than 5 MiB"))
        }
        UploadError::Disk(error) => disk(error),
    }
}

fn disk(error: std::io::Error) -> S3Error {
    tracing::error!(%error, "the embedded object store's directory");
    match error.kind() {
        std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded => {
            let message = "the volume of the object store is full";
            let mut full = S3Error::with_message(S3ErrorCode::Custom("InsufficientStorage".into()), message);
            full.set_status_code(http::StatusCode::INSUFFICIENT_STORAGE);
            full
        }
        std::io::ErrorKind::InvalidFilename => s3_error!(KeyTooLongError),
        _ => S3Error::internal_error(error),
    }
}
