//! The picture in a header: is it one that a browser may be shown? Its bytes are a stranger's, so all its pixels are
//! decoded once, within bounds, before it is kept.

use std::io::Cursor;

use easel_diffusion::Thumbnail;
use image::{ImageFormat, ImageReader, Limits};

/// ModelSpec asks for 256; people put there what their generator made.
const MAX_SIDE: u32 = 2048;
/// Pixels of such a picture with room for a decoder's own.
const MAX_ALLOC: u64 = 64 << 20;

/// PNG, JPEG or WebP that can be decoded, at most 2048 pixels wide and high.
pub(super) fn is_sound(picture: &Thumbnail) -> bool {
    let format = match picture.media_type() {
        "image/png" => ImageFormat::Png,
        "image/jpeg" => ImageFormat::Jpeg,
        "image/webp" => ImageFormat::WebP,
        _ => return false,
    };
    let mut limits = Limits::default();
    limits.max_image_width = Some(MAX_SIDE);
    limits.max_image_height = Some(MAX_SIDE);
    limits.max_alloc = Some(MAX_ALLOC);
    let mut reader = ImageReader::with_format(Cursor::new(picture.bytes()), format);
    reader.limits(limits);
    let decoded = reader.decode();
    if let Err(error) = &decoded {
        tracing::warn!(%error, "the file's thumbnail is damaged or too large and is left out");
    }
    decoded.is_ok()
}

#[cfg(test)]
mod tests {
    use base64::Engine as _;
    use base64::engine::general_purpose::STANDARD;
    use image::{GrayImage, ImageFormat};

    use super::*;

    fn picture(kind: &str, bytes: &[u8]) -> Thumbnail {
        Thumbnail::parse(&format!("data:image/{kind};base64,{}", STANDARD.encode(bytes))).unwrap()
    }

    fn encoded(side: u32, format: ImageFormat) -> Vec<u8> {
        let mut bytes = Cursor::new(Vec::new());
        GrayImage::new(side, 2).write_to(&mut bytes, format).unwrap();
        bytes.into_inner()
    }

    #[test]
    fn only_a_picture_that_can_be_decoded_is_kept() {
        let png = encoded(8, ImageFormat::Png);
        let mut spoiled = png.clone();
        *spoiled.iter_mut().rev().nth(20).unwrap() ^= 0x5a;
        for (case, bytes, want) in [
            ("a PNG", png.clone(), true),
            ("a JPEG", encoded(8, ImageFormat::Jpeg), true),
            ("a cut PNG", png[..png.len() / 2].to_vec(), false),
            ("a spoiled PNG", spoiled, false),
            ("a PNG with a wide side", encoded(MAX_SIDE + 1, ImageFormat::Png), false),
            ("only the beginning of a WebP", b"RIFF\0\0\0\0WEBPVP8 ".to_vec(), false),
            ("a GIF, which is not decoded", b"GIF89a\x01\0\x01\0\0\0\0;".to_vec(), false),
        ] {
            assert_eq!(is_sound(&picture("any", &bytes)), want, "{case}");
        }
    }
}
