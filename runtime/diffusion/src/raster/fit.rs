//! A picture of one aspect into a frame of another: A1111's `modules/images.py`, `resize_image`.

use std::str::FromStr;

use image::{ImageBuffer, Pixel};

use super::error::{RasterError, check_size};
use super::filter::Filter;
use super::resample::{resize, resize_box};

/// What happens to a picture whose aspect is not that of its frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ResizeMode {
    /// Stretched (A1111's mode 0).
    #[default]
    JustResize,
    /// Fills the frame; what sticks out is cut (mode 1; "Crop and Resize").
    CropAndResize,
    /// Is wholly in the frame; the rest repeats its edges (mode 2; "Resize and Fill").
    ResizeAndFill,
}

/// No mode has this name.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error(
    "resize mode `{0}` is unknown: use `Just Resize`, `Crop and Resize` or `Resize and Fill`, or 0, 1, 2"
)]
pub struct UnknownResizeMode(pub String);

impl FromStr for ResizeMode {
    type Err = UnknownResizeMode;

    /// A1111's numbers, its labels and those of the ControlNet extension, in any case.
    fn from_str(name: &str) -> Result<Self, UnknownResizeMode> {
        match name.to_ascii_lowercase().as_str() {
            "0" | "just resize" => Ok(Self::JustResize),
            "1" | "crop and resize" | "inner fit (scale to fit)" | "scale to fit (inner fit)" => {
                Ok(Self::CropAndResize)
            }
            "2" | "resize and fill" | "outer fit (shrink to fit)" | "envelope (outer fit)" => {
                Ok(Self::ResizeAndFill)
            }
            _ => Err(UnknownResizeMode(name.to_owned())),
        }
    }
}

/// Puts `image` into a frame of `width` x `height`, resampling by Lanczos.
///
/// What neither the picture nor a repeated edge reaches (an odd row or column) is black, as there.
///
/// # Errors
/// A side is zero or over the limits.
pub fn fit<P>(
    image: &ImageBuffer<P, Vec<u8>>,
    mode: ResizeMode,
    width: u32,
    height: u32,
) -> Result<ImageBuffer<P, Vec<u8>>, RasterError>
where
    P: Pixel<Subpixel = u8>,
{
    check_size(width, height)?;
    check_size(image.width(), image.height())?;
    if mode == ResizeMode::JustResize {
        return resize(image, width, height, Filter::Lanczos);
    }
    let ratio = f64::from(width) / f64::from(height);
    let own = f64::from(image.width()) / f64::from(image.height());
    // Equal aspects take the picture's own arithmetic for the width in either mode.
    let by_width = if mode == ResizeMode::CropAndResize { ratio > own } else { ratio < own };
    let by_height = if mode == ResizeMode::CropAndResize { ratio <= own } else { ratio >= own };
    let scaled = |side: u32, to: u32, of: u32| (u64::from(side) * u64::from(to) / u64::from(of)) as u32;
    let inner = (
        if by_width { width } else { scaled(image.width(), height, image.height()) },
        if by_height { height } else { scaled(image.height(), width, image.width()) },
    );
    let resized = resize(image, inner.0, inner.1, Filter::Lanczos)?;
    let mut frame = ImageBuffer::new(width, height);
    let at = (middle(width, inner.0), middle(height, inner.1));
    paste(&mut frame, &resized, at);
    if mode == ResizeMode::ResizeAndFill {
        if ratio < own {
            let bottom = inner.1 as f32;
            let strip = |y: f32| edge(&resized, width, at.1, [0.0, y, width as f32, y]);
            extend(&mut frame, strip, [(0.0, (0, 0)), (bottom, (0, at.1 + i64::from(inner.1)))], at.1)?;
        } else if ratio > own {
            let right = inner.0 as f32;
            let strip = |x: f32| edge(&resized, at.0 as u32, i64::from(height), [x, 0.0, x, height as f32]);
            extend(&mut frame, strip, [(0.0, (0, 0)), (right, (at.0 + i64::from(inner.0), 0))], at.0)?;
        }
    }
    Ok(frame)
}

/// The offset that centres `inner` in `outer`, each half rounded down.
fn middle(outer: u32, inner: u32) -> i64 {
    i64::from(outer / 2) - i64::from(inner / 2)
}

/// An edge stretched over a strip; Pillow's default filter is the bicubic one.
fn edge<P>(
    image: &ImageBuffer<P, Vec<u8>>,
    width: u32,
    height: i64,
    from: [f32; 4],
) -> Result<ImageBuffer<P, Vec<u8>>, RasterError>
where
    P: Pixel<Subpixel = u8>,
{
    resize_box(image, width, height as u32, Filter::Bicubic, from)
}

/// Pastes the strips of both edges, unless there is no room for one.
fn extend<P>(
    frame: &mut ImageBuffer<P, Vec<u8>>,
    strip: impl Fn(f32) -> Result<ImageBuffer<P, Vec<u8>>, RasterError>,
    edges: [(f32, (i64, i64)); 2],
    room: i64,
) -> Result<(), RasterError>
where
    P: Pixel<Subpixel = u8>,
{
    if room <= 0 {
        return Ok(());
    }
    for (edge, at) in edges {
        paste(frame, &strip(edge)?, at);
    }
    Ok(())
}

/// Copies `image` to `at`; what lies outside the frame is cut.
fn paste<P>(frame: &mut ImageBuffer<P, Vec<u8>>, image: &ImageBuffer<P, Vec<u8>>, at: (i64, i64))
where
    P: Pixel<Subpixel = u8>,
{
    for (x, y, pixel) in image.enumerate_pixels() {
        let (x, y) = (i64::from(x) + at.0, i64::from(y) + at.1);
        if x >= 0 && y >= 0 && x < i64::from(frame.width()) && y < i64::from(frame.height()) {
            frame.put_pixel(x as u32, y as u32, *pixel);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use image::GrayImage;

    #[test]
    fn names_of_both_dialects_are_known() {
        for (name, mode) in [
            ("0", ResizeMode::JustResize),
            ("Just Resize", ResizeMode::JustResize),
            ("Crop and Resize", ResizeMode::CropAndResize),
            ("Scale to Fit (Inner Fit)", ResizeMode::CropAndResize),
            ("Resize and Fill", ResizeMode::ResizeAndFill),
            ("Envelope (Outer Fit)", ResizeMode::ResizeAndFill),
        ] {
            assert_eq!(name.parse(), Ok(mode), "{name}");
        }
        assert!("stretch".parse::<ResizeMode>().unwrap_err().to_string().contains("Crop and Resize"));
    }

    #[test]
    fn a_needle_in_a_wide_frame_is_an_error_and_not_a_panic() {
        let needle = GrayImage::new(1, 1000);
        assert_eq!(fit(&needle, ResizeMode::ResizeAndFill, 64, 64).unwrap_err().reason(), "EmptyPicture");
        assert_eq!(fit(&needle, ResizeMode::CropAndResize, 64, 64).unwrap_err().reason(), "PictureTooLarge");
    }
}
