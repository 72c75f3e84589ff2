//! Pictures in and out.

use std::path::{Path, PathBuf};

use easel_diffusion::Picture;
use easel_protocol::FailureReport;
use easel_protocol::worker::ImageFormat;
use image::{DynamicImage, ImageReader, Limits};

use crate::error::chain;
use crate::worker::encode;

/// Largest side of a picture that is read, in pixels.
const MAX_SIDE: u32 = 16_384;
/// Most memory for reading one.
const MAX_BYTES: u64 = 1 << 30;

/// A picture of a person's.
pub(super) fn open(option: &str, path: &Path) -> Result<DynamicImage, FailureReport> {
    let failed = |retriable: bool, error: String| {
        FailureReport::new("PictureUnreadable", format!("{option} {}: {error}", path.display()), retriable)
    };
    let mut reader = ImageReader::open(path)
        .and_then(ImageReader::with_guessed_format)
        .map_err(|error| failed(true, error.to_string()))?;
    let mut limits = Limits::default();
    (limits.max_image_width, limits.max_image_height) = (Some(MAX_SIDE), Some(MAX_SIDE));
    limits.max_alloc = Some(MAX_BYTES);
    reader.limits(limits);
    reader.decode().map_err(|error| failed(false, error.to_string()))
}

/// What the name of `--out` asks for.
pub(super) fn format_of(out: &Path) -> Result<ImageFormat, FailureReport> {
    let extension = out.extension().map(|extension| extension.to_string_lossy().to_ascii_lowercase());
    match extension.as_deref() {
        Some("png") => Ok(ImageFormat::Png),
        Some("jpg" | "jpeg") => Ok(ImageFormat::Jpeg),
        _ => {
            let message = format!("--out {}: the name has to end in .png or .jpg", out.display());
            Err(FailureReport::new("UnknownImageFormat", message, false))
        }
    }
}

/// Found before the minutes of work, not after.
pub(super) fn check_writable(out: &Path) -> Result<(), FailureReport> {
    let parent = out.parent().filter(|parent| !parent.as_os_str().is_empty());
    match parent {
        Some(parent) if !parent.is_dir() => {
            let message = format!("--out {}: {} is no directory", out.display(), parent.display());
            Err(FailureReport::new("OutputFailed", message, false))
        }
        _ => Ok(()),
    }
}

/// Writes the pictures and says where each is.
pub(super) fn save(pictures: &[Picture], out: &Path, format: ImageFormat) -> Result<(), FailureReport> {
    for (index, picture) in pictures.iter().enumerate() {
        let path = if pictures.len() == 1 { out.to_owned() } else { numbered(out, index + 1) };
        let bytes = encode(picture, format)
            .map_err(|error| FailureReport::new(error.reason(), chain(&error), error.retriable()))?;
        std::fs::write(&path, bytes).map_err(|error| {
            FailureReport::new("OutputFailed", format!("cannot write {}: {error}", path.display()), true)
        })?;
        println!("{} (seed {})", path.display(), picture.seed);
    }
    Ok(())
}

/// `x.png` becomes `x-3.png`.
fn numbered(out: &Path, number: usize) -> PathBuf {
    let stem = out.file_stem().unwrap_or_default().to_string_lossy();
    let extension = out.extension().unwrap_or_default().to_string_lossy();
    out.with_file_name(format!("{stem}-{number}.{extension}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn several_pictures_are_numbered_from_one() {
        assert_eq!(numbered(Path::new("out/a.b.png"), 2), Path::new("out/a.b-2.png"));
        assert_eq!(numbered(Path::new("x.jpg"), 10), Path::new("x-10.jpg"));
    }

    #[test]
    fn the_format_is_the_names() {
        assert_eq!(format_of(Path::new("x.PNG")), Ok(ImageFormat::Png));
        assert_eq!(format_of(Path::new("x.jpeg")), Ok(ImageFormat::Jpeg));
        for bad in ["x", "x.webp", ".png"] {
            assert!(format_of(Path::new(bad)).is_err(), "{bad}");
        }
    }
}
