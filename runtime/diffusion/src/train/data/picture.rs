//! A picture on its way from a file to the pixels of a step.

use std::fs::File;
use std::io::{Cursor, Read};
use std::path::Path;

use candle_core::{Device, Tensor};
use image::metadata::Orientation;
use image::{DynamicImage, ImageDecoder, ImageError, ImageReader, Limits, RgbImage, imageops};

use super::bucket::Frame;
use super::draw::Draw;
use super::error::DataError;
use crate::raster::{Filter, MAX_PIXELS, MAX_SIDE, resize};

/// Largest picture file that is read.
pub const MAX_FILE_BYTES: u64 = 64 << 20;
/// Most memory for one decoded picture; decoders with buffers of their own get as much again.
const MAX_DECODED_BYTES: u64 = 512 << 20;

/// Which part of a picture is seen where its shape is not that of its bucket.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Crop {
    #[default]
    Centre,
    /// Another one each time; such latents cannot be kept.
    Random,
}

/// The bytes of a picture's file.
pub(super) fn read_file(path: &Path) -> Result<Vec<u8>, DataError> {
    let unreadable = |source| DataError::Unreadable { path: path.to_owned(), source };
    let file = File::open(path).map_err(unreadable)?;
    let mut bytes = Vec::new();
    file.take(MAX_FILE_BYTES + 1).read_to_end(&mut bytes).map_err(unreadable)?;
    if bytes.len() as u64 > MAX_FILE_BYTES {
        let size = path.metadata().map_or(bytes.len() as u64, |meta| meta.len());
        return Err(DataError::FileTooLarge { path: path.to_owned(), size });
    }
    Ok(bytes)
}

/// A decoder that has read the header and nothing else, with what the header says.
fn begin<'b>(path: &Path, bytes: &'b [u8]) -> Result<(impl ImageDecoder + 'b, Orientation), DataError> {
    let mut reader = ImageReader::new(Cursor::new(bytes))
        .with_guessed_format()
        .map_err(|source| DataError::Unreadable { path: path.to_owned(), source })?;
    let mut limits = Limits::default();
    (limits.max_image_width, limits.max_image_height) = (Some(MAX_SIDE), Some(MAX_SIDE));
    limits.max_alloc = Some(MAX_DECODED_BYTES);
    reader.limits(limits);
    let mut decoder = reader.into_decoder().map_err(|error| undecodable(path, &error))?;
    let (width, height) = decoder.dimensions();
    let pixels = u64::from(width) * u64::from(height);
    if pixels > MAX_PIXELS || decoder.total_bytes() > MAX_DECODED_BYTES {
        let remedy = "over the limit of 67 million pixels and 512 MiB; store it smaller";
        return Err(DataError::Dimensions { path: path.to_owned(), width, height, remedy });
    }
    if width == 0 || height == 0 {
        let remedy = "it has no pixels; remove it";
        return Err(DataError::Dimensions { path: path.to_owned(), width, height, remedy });
    }
    // A damaged orientation is no reason to refuse the pixels.
    let orientation = decoder.orientation().unwrap_or(Orientation::NoTransforms);
    Ok((decoder, orientation))
}

fn undecodable(path: &Path, error: &ImageError) -> DataError {
    let (path, detail) = (path.to_owned(), error.to_string());
    match error {
        ImageError::Limits(_) => DataError::OverLimits { path, detail },
        _ => DataError::Undecodable { path, detail },
    }
}

/// Width and height as the picture is meant to be seen, from its header.
pub(super) fn dimensions(path: &Path, bytes: &[u8]) -> Result<(u32, u32), DataError> {
    let (decoder, orientation) = begin(path, bytes)?;
    let (width, height) = decoder.dimensions();
    Ok(match orientation {
        Orientation::Rotate90
        | Orientation::Rotate270
        | Orientation::Rotate90FlipH
        | Orientation::Rotate270FlipH => (height, width),
        Orientation::NoTransforms
        | Orientation::Rotate180
        | Orientation::FlipHorizontal
        | Orientation::FlipVertical => (width, height),
    })
}

/// The whole picture, turned as it is meant to be seen; transparency is dropped.
pub(super) fn decode(path: &Path, bytes: &[u8]) -> Result<RgbImage, DataError> {
    let (decoder, orientation) = begin(path, bytes)?;
    let mut picture = DynamicImage::from_decoder(decoder).map_err(|error| undecodable(path, &error))?;
    picture.apply_orientation(orientation);
    Ok(picture.into_rgb8())
}

/// Reads a picture with the limits of training and decodes all of it. Returns width and height as it is meant to be
/// seen.
///
/// # Errors
/// It cannot be read, is too large or cannot be decoded.
pub fn look_at(path: &Path) -> Result<(u32, u32), DataError> {
    let bytes = read_file(path)?;
    let (decoder, _) = begin(path, &bytes)?;
    // Neither turned nor converted, which would take as much memory again.
    DynamicImage::from_decoder(decoder).map_err(|error| undecodable(path, &error))?;
    dimensions(path, &bytes)
}

/// How a picture is put into its bucket.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Placed {
    pub frame: Frame,
    /// The picture's size after resizing: it covers the frame.
    pub resized: Frame,
    /// What is cut off at the left and at the top of that.
    pub left: u32,
    pub top: u32,
    pub flipped: bool,
}

impl Placed {
    /// A picture of this size in `frame`, resized so that it just covers it: kohya's rule.
    ///
    /// # Errors
    /// The picture is so narrow that it would become too long.
    pub(super) fn new(path: &Path, (width, height): (u32, u32), frame: Frame) -> Result<Self, DataError> {
        let by_height =
            u64::from(width) * u64::from(frame.height) > u64::from(height) * u64::from(frame.width);
        let scaled = |side: u32, to: u32, of: u32| {
            let (side, to, of) = (u64::from(side), u64::from(to), u64::from(of));
            u32::try_from((2 * side * to + of) / (2 * of)).unwrap_or(u32::MAX)
        };
        let resized = if by_height {
            let wide = scaled(width, frame.height, height).max(frame.width);
            Frame { width: wide, height: frame.height }
        } else {
            let high = scaled(height, frame.width, width).max(frame.height);
            Frame { width: frame.width, height: high }
        };
        let pixels = u64::from(resized.width) * u64::from(resized.height);
        if resized.width > MAX_SIDE || resized.height > MAX_SIDE || pixels > MAX_PIXELS {
            let remedy = "too narrow for any bucket; cut it to a shape nearer to a square";
            return Err(DataError::Dimensions { path: path.to_owned(), width, height, remedy });
        }
        let (left, top) = ((resized.width - frame.width) / 2, (resized.height - frame.height) / 2);
        Ok(Self { frame, resized, left, top, flipped: false })
    }

    /// The same with another part of the picture in the frame.
    #[must_use]
    pub(super) fn moved(mut self, draw: &mut Draw) -> Self {
        self.left = draw.below(u64::from(self.resized.width - self.frame.width) + 1) as u32;
        self.top = draw.below(u64::from(self.resized.height - self.frame.height) + 1) as u32;
        self
    }

    /// `[1, 3, height, width]`, -1 to 1.
    pub(super) fn pixels(&self, path: &Path, picture: &RgbImage) -> Result<Tensor, DataError> {
        let Frame { width, height } = self.resized;
        let resized = resize(picture, width, height, Filter::Lanczos)
            .map_err(|error| DataError::Undecodable { path: path.to_owned(), detail: error.to_string() })?;
        let Frame { width, height } = self.frame;
        let mut part = imageops::crop_imm(&resized, self.left, self.top, width, height).to_image();
        if self.flipped {
            imageops::flip_horizontal_in_place(&mut part);
        }
        let area = width as usize * height as usize;
        let mut values = vec![0.0_f32; 3 * area];
        for (i, pixel) in part.pixels().enumerate() {
            for (c, level) in pixel.0.iter().enumerate() {
                values[c * area + i] = f32::from(*level) / 255.0 * 2.0 - 1.0;
            }
        }
        Tensor::from_vec(values, (1, 3, height as usize, width as usize), &Device::Cpu)
            .map_err(|source| DataError::Tensor { path: path.to_owned(), source })
    }
}

#[cfg(test)]
mod tests {
    use super::super::draw::Stream;
    use super::*;

    const FRAME: Frame = Frame { width: 128, height: 64 };

    fn placed(width: u32, height: u32) -> Result<Placed, DataError> {
        Placed::new(Path::new("x.png"), (width, height), FRAME)
    }

    #[test]
    fn a_picture_covers_its_frame_and_no_more() {
        for (width, height, resized, left, top) in [
            (128, 64, (128, 64), 0, 0),
            (256, 256, (128, 128), 0, 32),
            (300, 100, (192, 64), 32, 0),
            (33, 16, (132, 64), 2, 0),
        ] {
            let got = placed(width, height).unwrap();
            assert_eq!((got.resized.width, got.resized.height), resized, "{width}x{height}");
            assert_eq!((got.left, got.top), (left, top), "{width}x{height}");
        }
        assert_eq!(placed(1, 10_000).unwrap_err().reason(), "PictureSize");
        for index in 0..50 {
            let moved = placed(300, 100).unwrap().moved(&mut Draw::new(1, Stream::Crop, index, 0));
            assert!(moved.left <= 64 && moved.top == 0, "{moved:?}");
        }
    }

    #[test]
    fn pixels_are_cut_flipped_and_scaled() {
        let path = Path::new("x.png");
        let picture = RgbImage::from_fn(128, 64, |x, _| image::Rgb([if x < 64 { 0 } else { 255 }, 255, 0]));
        let placed = placed(128, 64).unwrap();
        for (flipped, left) in [(false, -1.0), (true, 1.0)] {
            let pixels = Placed { flipped, ..placed }.pixels(path, &picture).unwrap();
            assert_eq!(pixels.dims(), [1, 3, 64, 128]);
            let red = pixels.get(0).unwrap().get(0).unwrap().to_vec2::<f32>().unwrap();
            assert_eq!((red[5][3], red[5][120]), (left, -left));
        }
    }

    #[test]
    fn hostile_files_are_refused_by_name_before_they_are_decoded() {
        let mut png = Vec::new();
        RgbImage::new(4, 4).write_to(&mut Cursor::new(&mut png), image::ImageFormat::Png).unwrap();
        assert_eq!(dimensions(Path::new("ok.png"), &png).unwrap(), (4, 4));
        let mut bomb = png.clone();
        bomb[16..24].copy_from_slice(&[0, 0, 0x30, 0, 0, 0, 0x30, 0]);
        let mut empty = png.clone();
        empty[16..24].fill(0);
        let cases: [(&str, &[u8]); 4] =
            [("bomb", &bomb), ("no pixels", &empty), ("text", b"hello"), ("cut", &png[..20])];
        for (name, bytes) in cases {
            let path = Path::new("dir/evil.png");
            let error = dimensions(path, bytes).unwrap_err();
            assert!(error.to_string().contains("dir/evil.png"), "{name}: {error}");
        }
        assert!(decode(Path::new("cut.png"), &png[..png.len() - 20]).is_err());
    }

    #[test]
    fn every_format_is_read() {
        use image::ImageFormat::{Jpeg, Png, WebP};
        let picture = RgbImage::from_pixel(8, 6, image::Rgb([200, 100, 50]));
        for format in [Png, Jpeg, WebP] {
            let mut bytes = Vec::new();
            picture.write_to(&mut Cursor::new(&mut bytes), format).unwrap();
            let got = decode(Path::new("x"), &bytes).unwrap();
            assert_eq!(got.dimensions(), (8, 6), "{format:?}");
            let close = got.pixels().all(|p| p.0.iter().zip([200, 100, 50]).all(|(a, b)| a.abs_diff(b) < 8));
            assert!(close, "{format:?}");
        }
    }
}
