//! The object store: bytes under keys in one bucket, and presigned URLs with which others read and write
//! them. One trait; one implementation, an S3 client; one S3 service of our own for those who have none.

mod embedded;
mod error;
mod key;
mod s3;
mod store;
mod stream;

pub use embedded::{EmbeddedError, EmbeddedS3, S3Body};
pub use error::ObjectError;
pub use key::{InvalidKey, ObjectKey};
pub use s3::{S3Options, S3Store};
pub use store::{
    Audience, ListPage, Listed, MAX_EXPIRY, Object, ObjectMeta, ObjectStore, Part, PresignedUrl,
    ResponseHeaders, StaleUpload,
};
pub use stream::{PutStreamError, abort_stale_uploads, put_stream};
