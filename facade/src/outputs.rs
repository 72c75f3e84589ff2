//! Where a job's results are: one picture in each format, and a document of the dialect, in one folder of
//! the object store.

use easel_protocol::GenerationRequest;
use easel_protocol::worker::ImageFormat;
use easel_store::jobs::JobId;
use easel_store::objects::ObjectKey;

/// Every format that a worker stores a picture in: lossless with its parameters, and what browsers show.
pub const FORMATS: [ImageFormat; 2] = [ImageFormat::Png, ImageFormat::Jpeg];

/// Prefix of everything that belongs to a job.
pub fn job_prefix(id: JobId) -> String {
    format!("out/{id}/")
}

/// The folder of its results, without a slash at the end.
pub fn folder(id: JobId) -> String {
    format!("out/{id}/result")
}

/// Key of a file in that folder.
///
/// # Panics
/// Never: a UUID and the names made in this crate form a valid key.
pub fn key(id: JobId, name: &str) -> ObjectKey {
    format!("{}/{name}", folder(id)).parse().expect("a UUID and a plain name make a valid key")
}

/// `image_0.png`
pub fn image_name(picture: u32, format: ImageFormat) -> String {
    let extension = match format {
        ImageFormat::Png => "png",
        ImageFormat::Jpeg => "jpg",
    };
    format!("image_{picture}.{extension}")
}

/// Every file that a worker has to store for this request.
pub fn expected(request: &GenerationRequest) -> impl Iterator<Item = (u32, ImageFormat, String)> {
    (0..request.pictures())
        .flat_map(|picture| FORMATS.map(|format| (picture, format, image_name(picture, format))))
}
