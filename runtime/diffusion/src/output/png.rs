//! PNG with a `parameters` text chunk, where A1111 and its relatives look for it.

use std::io::Cursor;

use png::text_metadata::ITXtChunk;
use png::{BitDepth, ColorType, Compression, Decoder, Encoder};

use crate::pipeline::Picture;

use super::error::EncodeError;

/// The chunk's keyword.
const KEYWORD: &str = "parameters";

/// Encodes a picture; its infotext is a `tEXt` chunk if Latin-1 can hold it, otherwise `iTXt`.
///
/// # Errors
/// The encoder refuses the picture, such as one without pixels.
pub fn encode(picture: &Picture) -> Result<Vec<u8>, EncodeError> {
    let failed = |source| EncodeError::Png { source };
    let mut bytes = Vec::new();
    let mut encoder = Encoder::new(&mut bytes, picture.rgb.width(), picture.rgb.height());
    encoder.set_color(ColorType::Rgb);
    encoder.set_depth(BitDepth::Eight);
    encoder.set_compression(Compression::Balanced);
    // A zero byte ends a text chunk's keyword and may not stand in its text.
    let text = picture.infotext.replace('\0', " ");
    let latin1 = text.chars().all(|c| u32::from(c) < 256);
    if latin1 {
        encoder.add_text_chunk(KEYWORD.into(), text.clone()).map_err(failed)?;
    }
    let mut writer = encoder.write_header().map_err(failed)?;
    if !latin1 {
        writer.write_text_chunk(&ITXtChunk::new(KEYWORD, text)).map_err(failed)?;
    }
    writer.write_image_data(picture.rgb.as_raw()).map_err(failed)?;
    writer.finish().map_err(failed)?;
    Ok(bytes)
}

/// The parameters in a PNG, if it is one and has any.
pub fn read_parameters(bytes: &[u8]) -> Option<String> {
    // Text chunks may be compressed: at most this much of one is unpacked.
    const LIMIT: usize = 1 << 20;
    let mut decoder = Decoder::new_with_limits(Cursor::new(bytes), png::Limits { bytes: 16 << 20 });
    decoder.set_ignore_text_chunk(false);
    let reader = decoder.read_info().ok()?;
    let info = reader.info();
    if let Some(chunk) = info.uncompressed_latin1_text.iter().find(|c| c.keyword == KEYWORD) {
        return Some(chunk.text.clone());
    }
    let mut chunk = info.utf8_text.iter().find(|c| c.keyword == KEYWORD)?.clone();
    chunk.decompress_text_with_limit(LIMIT).ok()?;
    chunk.get_text().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use image::RgbImage;

    #[test]
    fn pixels_and_parameters_come_back() {
        for text in ["a cat\nSteps: 20", "ein Bär – 熊\nSteps: 20", ""] {
            let rgb = RgbImage::from_fn(5, 3, |x, y| image::Rgb([x as u8 * 50, y as u8 * 80, 7]));
            let picture = Picture { rgb: rgb.clone(), seed: 1, infotext: text.into() };
            let bytes = encode(&picture).unwrap();
            assert_eq!(read_parameters(&bytes).as_deref(), Some(text));
            assert_eq!(image::load_from_memory(&bytes).unwrap().to_rgb8(), rgb);
        }
    }

    #[test]
    fn other_bytes_have_no_parameters() {
        assert_eq!(read_parameters(b""), None);
        assert_eq!(read_parameters(b"\x89PNG\r\n\x1a\n and then nonsense"), None);
    }
}
