//! From a prepared hint to the tensor that the network reads.
//!
//! Facts: sd-webui-controlnet's `scripts/controlnet.py` (`detectmap_proc`) for the resize modes and the
//! border's colour, `scripts/hook.py` for -1 under the mask. Unlike there, a drawing of two colours that
//! has to be resized is cut at one half and its lines are not thinned again: prepare hints at the
//! picture's size to have them untouched.

use std::collections::HashSet;

use candle_core::{Device, Result, Tensor};
use image::{GrayImage, ImageBuffer, Pixel, Rgb, RgbImage, imageops};

use super::preprocess::Prepared;
use crate::raster::{
    Filter, RasterError, ResizeMode, check_mask, check_size, resize, resize_area, resize_cubic,
};

/// Pixels of the hint for each of the latent.
pub const HINT_SCALE: usize = 8;

/// Colours up to which a hint is a map of classes, whose colours must not be mixed.
const MAX_CLASSES: usize = 199;

/// Brings a hint to the picture's size.
///
/// # Errors
/// The hint is empty or over the limits, or its mask is of another size.
pub fn fit_hint(
    hint: &Prepared,
    mode: ResizeMode,
    width: u32,
    height: u32,
) -> std::result::Result<Prepared, RasterError> {
    check_size(hint.picture.width(), hint.picture.height())?;
    check_size(width, height)?;
    let colours = Colours::of(&hint.picture);
    let border = border_colour(&hint.picture);
    let picture = place(&hint.picture, mode, (width, height), border, |p, w, h| colours.resize(p, w, h))?;
    let Some(mask) = &hint.mask else { return Ok(picture.into()) };
    check_mask(mask.dimensions(), hint.picture.dimensions())?;
    let area = |mask: &GrayImage, w, h| smooth(mask, w, h);
    // What the border adds to the picture is there to be invented.
    let mask = place(mask, mode, (width, height), image::Luma([255]), area)?;
    Ok(Prepared { picture, mask: Some(mask) })
}

/// `[1, 3, h, w]` from 0 to 1, and -1 where the mask is above one half.
///
/// # Errors
/// Memory for the tensor cannot be had.
pub fn hint_tensor(hint: &Prepared) -> Result<Tensor> {
    let (width, height) = hint.picture.dimensions();
    let mut values = Vec::with_capacity(3 * width as usize * height as usize);
    for c in 0..3 {
        let plane = hint.picture.pixels().map(|pixel| f32::from(pixel.0[c]) / 255.0);
        match &hint.mask {
            None => values.extend(plane),
            Some(mask) => {
                values.extend(plane.zip(mask.as_raw()).map(|(v, m)| if *m > 127 { -1.0 } else { v }));
            }
        }
    }
    Tensor::from_vec(values, (1, 3, height as usize, width as usize), &Device::Cpu)
}

/// Puts a picture into the frame: stretched, cut, or with a border.
fn place<P>(
    picture: &ImageBuffer<P, Vec<u8>>,
    mode: ResizeMode,
    (width, height): (u32, u32),
    border: P,
    resized: impl Fn(
        &ImageBuffer<P, Vec<u8>>,
        u32,
        u32,
    ) -> std::result::Result<ImageBuffer<P, Vec<u8>>, RasterError>,
) -> std::result::Result<ImageBuffer<P, Vec<u8>>, RasterError>
where
    P: Pixel<Subpixel = u8> + 'static,
{
    let across = f64::from(width) / f64::from(picture.width());
    let down = f64::from(height) / f64::from(picture.height());
    let scale = match mode {
        ResizeMode::JustResize => return resized(picture, width, height),
        ResizeMode::CropAndResize => across.max(down),
        ResizeMode::ResizeAndFill => across.min(down),
    };
    let side = |side: u32| (f64::from(side) * scale).round_ties_even() as u32;
    let inner = resized(picture, side(picture.width()).max(1), side(picture.height()).max(1))?;
    let (w, h) = inner.dimensions();
    if mode == ResizeMode::CropAndResize {
        let (left, top) = (w.saturating_sub(width) / 2, h.saturating_sub(height) / 2);
        let at = |x: u32, y: u32| *inner.get_pixel((left + x).min(w - 1), (top + y).min(h - 1));
        return Ok(ImageBuffer::from_fn(width, height, at));
    }
    let mut frame = ImageBuffer::from_pixel(width, height, border);
    let (left, top) = (width.saturating_sub(w) / 2, height.saturating_sub(h) / 2);
    imageops::replace(&mut frame, &inner, i64::from(left), i64::from(top));
    Ok(frame)
}

/// What a hint's colours say about how it may be resized.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Colours {
    /// Black and white.
    Drawing,
    Classes,
    Tones,
}

impl Colours {
    fn of(picture: &RgbImage) -> Self {
        let mut seen = HashSet::new();
        for pixel in picture.pixels() {
            seen.insert(pixel.0);
            if seen.len() > MAX_CLASSES {
                return Self::Tones;
            }
        }
        let values = || picture.as_raw().iter().copied();
        match seen.len() {
            2 if values().min() < Some(16) && values().max() > Some(240) => Self::Drawing,
            3.. => Self::Classes,
            _ => Self::Tones,
        }
    }

    fn resize(
        self,
        picture: &RgbImage,
        width: u32,
        height: u32,
    ) -> std::result::Result<RgbImage, RasterError> {
        if (width, height) == picture.dimensions() {
            return Ok(picture.clone());
        }
        match self {
            Self::Classes => resize(picture, width, height, Filter::Nearest),
            Self::Tones => smooth(picture, width, height),
            Self::Drawing => {
                let mut out = smooth(picture, width, height)?;
                for pixel in out.pixels_mut() {
                    let sum: u32 = pixel.0.iter().map(|v| u32::from(*v)).sum();
                    *pixel = Rgb([if sum > 3 * 127 { 255 } else { 0 }; 3]);
                }
                Ok(out)
            }
        }
    }
}

/// By area where both sides shrink, by a cubic otherwise.
fn smooth<P>(
    picture: &ImageBuffer<P, Vec<u8>>,
    width: u32,
    height: u32,
) -> std::result::Result<ImageBuffer<P, Vec<u8>>, RasterError>
where
    P: Pixel<Subpixel = u8>,
{
    if width <= picture.width() && height <= picture.height() {
        resize_area(picture, width, height)
    } else {
        resize_cubic(picture, width, height)
    }
}

/// The median of each channel along the four edges.
fn border_colour(picture: &RgbImage) -> Rgb<u8> {
    let (width, height) = picture.dimensions();
    let rows = (0..width).flat_map(|x| [(x, 0), (x, height - 1)]);
    let columns = (0..height).flat_map(|y| [(0, y), (width - 1, y)]);
    let pixels: Vec<[u8; 3]> = rows.chain(columns).map(|(x, y)| picture.get_pixel(x, y).0).collect();
    Rgb(std::array::from_fn(|c| {
        let mut values: Vec<u8> = pixels.iter().map(|p| p[c]).collect();
        values.sort_unstable();
        // An even number of values: the mean of the middle two, cut as a byte is.
        let (low, high) = (values[values.len() / 2 - 1], values[values.len() / 2]);
        low.midpoint(high)
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn values(hint: &Prepared, mode: ResizeMode, width: u32, height: u32) -> Vec<f32> {
        let fitted = fit_hint(hint, mode, width, height).unwrap();
        hint_tensor(&fitted).unwrap().flatten_all().unwrap().to_vec1().unwrap()
    }

    #[test]
    fn what_is_masked_is_minus_one() {
        let picture = RgbImage::from_pixel(8, 8, Rgb([255, 0, 51]));
        let mask = GrayImage::from_fn(8, 8, |x, _| image::Luma([if x < 4 { 255 } else { 0 }]));
        let got = values(&Prepared { picture, mask: Some(mask) }, ResizeMode::JustResize, 8, 8);
        assert_eq!(got[..8], [-1.0, -1.0, -1.0, -1.0, 1.0, 1.0, 1.0, 1.0]);
        assert_eq!(got[64 + 4], 0.0);
        assert_eq!(got[128 + 4], 0.2);
    }

    #[test]
    fn the_border_around_a_masked_picture_is_masked() {
        let mask = Some(GrayImage::new(8, 8));
        let hint = Prepared { picture: RgbImage::from_pixel(8, 8, Rgb([51; 3])), mask };
        let got = values(&hint, ResizeMode::ResizeAndFill, 16, 8);
        let row = |from: usize| &got[from..from + 16];
        assert!(row(0)[..4].iter().chain(&row(0)[12..]).all(|v| *v == -1.0), "{:?}", row(0));
        assert!(row(0)[4..12].iter().all(|v| *v == 0.2), "{:?}", row(0));
    }

    #[test]
    fn a_border_has_the_colour_of_the_edge_and_drawings_stay_black_and_white() {
        let picture = RgbImage::from_fn(8, 8, |x, y| Rgb([if x == y { 255 } else { 0 }; 3]));
        let hint = Prepared::from(picture);
        let got = values(&hint, ResizeMode::ResizeAndFill, 32, 16);
        assert!(got.iter().all(|v| *v == 0.0 || *v == 1.0));
        assert!((0..16).all(|y| (0..8).chain(24..32).all(|x| got[y * 32 + x] == 0.0)), "the border");
        assert_eq!(values(&hint, ResizeMode::CropAndResize, 8, 16).len(), 3 * 8 * 16);
    }

    #[test]
    fn classes_are_not_mixed() {
        let picture = RgbImage::from_fn(9, 9, |x, _| Rgb([x as u8 / 3 * 100, 7, 9]));
        let got = values(&picture.into(), ResizeMode::JustResize, 16, 16);
        let allowed = [0.0, 100.0 / 255.0, 200.0 / 255.0, 7.0 / 255.0, 9.0 / 255.0];
        assert!(got.iter().all(|v| allowed.contains(v)));
    }

    #[test]
    fn hostile_sizes_are_errors() {
        let hint = Prepared::from(RgbImage::new(1, 4000));
        let refused = |mode, w, h| fit_hint(&hint, mode, w, h).unwrap_err().reason();
        assert_eq!(refused(ResizeMode::CropAndResize, 512, 512), "PictureTooLarge");
        assert_eq!(refused(ResizeMode::JustResize, 1 << 20, 8), "PictureTooLarge");
        let empty = Prepared::from(RgbImage::new(0, 0));
        assert_eq!(fit_hint(&empty, ResizeMode::JustResize, 8, 8).unwrap_err().reason(), "EmptyPicture");
    }
}
