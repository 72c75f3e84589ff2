//! JPEG with the parameters in its EXIF block.

use image::codecs::jpeg::JpegEncoder;
use image::{ExtendedColorType, ImageEncoder};

use crate::pipeline::Picture;

use super::error::EncodeError;
use super::exif::user_comment;

/// An APP1 segment holds 65,533 bytes; longer parameters are left out.
const MAX_EXIF: usize = 65_000;

/// Encodes a picture at a quality from 1 to 100.
///
/// # Errors
/// The encoder refuses the picture, such as one without pixels.
pub fn encode(picture: &Picture, quality: u8) -> Result<Vec<u8>, EncodeError> {
    let mut bytes = Vec::new();
    let mut encoder = JpegEncoder::new_with_quality(&mut bytes, quality.clamp(1, 100));
    let exif = user_comment(&picture.infotext);
    if exif.len() <= MAX_EXIF {
        let set = encoder.set_exif_metadata(exif);
        set.map_err(|e| EncodeError::Jpeg { source: image::ImageError::Unsupported(e) })?;
    }
    encoder
        .write_image(picture.rgb.as_raw(), picture.rgb.width(), picture.rgb.height(), ExtendedColorType::Rgb8)
        .map_err(|source| EncodeError::Jpeg { source })?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use image::RgbImage;

    #[test]
    fn a_jpeg_decodes_to_its_colour_and_carries_its_parameters() {
        let rgb = RgbImage::from_pixel(16, 16, image::Rgb([200, 30, 40]));
        let picture = Picture { rgb, seed: 1, infotext: "a cat".into() };
        let bytes = encode(&picture, 95).unwrap();
        let pixel = image::load_from_memory(&bytes).unwrap().to_rgb8().get_pixel(8, 8).0;
        assert!(pixel.iter().zip([200_u8, 30, 40]).all(|(a, b)| a.abs_diff(b) < 6), "{pixel:?}");
        let utf16: Vec<u8> = "a cat".encode_utf16().flat_map(u16::to_be_bytes).collect();
        assert!(bytes.windows(utf16.len()).any(|w| w == utf16));
    }
}
