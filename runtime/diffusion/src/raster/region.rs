//! The part of a picture that a mask touches: A1111's `modules/masking.py`.

use image::{GrayImage, ImageBuffer, Pixel};

use super::error::{RasterError, check_size};

/// A rectangle from (`left`, `top`) up to but without (`right`, `bottom`), inside its picture.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Region {
    pub left: u32,
    pub top: u32,
    pub right: u32,
    pub bottom: u32,
}

impl Region {
    pub fn width(self) -> u32 {
        self.right.saturating_sub(self.left)
    }

    pub fn height(self) -> u32 {
        self.bottom.saturating_sub(self.top)
    }
}

/// The smallest rectangle with every pixel of `mask` that is not zero, `padding` pixels larger on each
/// side as far as the picture reaches; `None` for a mask without such a pixel (`get_crop_region_v2`).
pub fn crop_region(mask: &GrayImage, padding: u32) -> Option<Region> {
    let mut region: Option<Region> = None;
    for (x, y, pixel) in mask.enumerate_pixels() {
        if pixel.0[0] == 0 {
            continue;
        }
        let seen = region.get_or_insert(Region { left: x, top: y, right: x + 1, bottom: y + 1 });
        seen.left = seen.left.min(x);
        seen.right = seen.right.max(x + 1);
        seen.bottom = y + 1;
    }
    let found = region?;
    Some(Region {
        left: found.left.saturating_sub(padding),
        top: found.top.saturating_sub(padding),
        right: found.right.saturating_add(padding).min(mask.width()),
        bottom: found.bottom.saturating_add(padding).min(mask.height()),
    })
}

/// Enlarges `region` to the aspect of `processing` (width, height) as far as a picture of size `image`
/// allows, moving it where it would stick out (`expand_crop_region`). An empty region stays as it is.
pub fn expand_region(region: Region, processing: (u32, u32), image: (u32, u32)) -> Region {
    if region.width() == 0 || region.height() == 0 || processing.0 == 0 || processing.1 == 0 {
        return region;
    }
    let (width, height) = (f64::from(region.width()), f64::from(region.height()));
    let ratio = f64::from(processing.0) / f64::from(processing.1);
    let mut out = region;
    if width / height > ratio {
        (out.top, out.bottom) = grow(region.top, region.bottom, width / ratio, image.1);
    } else {
        (out.left, out.right) = grow(region.left, region.right, height * ratio, image.0);
    }
    out
}

/// Grows a span about its middle to the length wanted, then pushes it back inside `limit`.
fn grow(low: u32, high: u32, wanted: f64, limit: u32) -> (u32, u32) {
    let limit = i64::from(limit);
    let (mut low, mut high) = (i64::from(low), i64::from(high));
    // Truncated, as in the reference; sides are bounded far below where this cast would saturate.
    let more = (wanted - (high - low) as f64) as i64;
    low -= more.div_euclid(2);
    high += more - more.div_euclid(2);
    if high >= limit {
        low -= high - limit;
        high = limit;
    }
    if low < 0 {
        high -= low;
        low = 0;
    }
    (low as u32, high.min(limit) as u32)
}

/// Cuts `region` out.
///
/// # Errors
/// The region has no pixel inside the picture.
pub fn crop<P>(
    image: &ImageBuffer<P, Vec<u8>>,
    region: Region,
) -> Result<ImageBuffer<P, Vec<u8>>, RasterError>
where
    P: Pixel<Subpixel = u8>,
{
    let right = region.right.min(image.width());
    let bottom = region.bottom.min(image.height());
    let (width, height) = (right.saturating_sub(region.left), bottom.saturating_sub(region.top));
    check_size(width, height)?;
    Ok(ImageBuffer::from_fn(width, height, |x, y| *image.get_pixel(region.left + x, region.top + y)))
}

/// 255 minus each value.
pub fn invert(mask: &GrayImage) -> GrayImage {
    let mut out = mask.clone();
    for value in out.iter_mut() {
        *value = 255 - *value;
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mask_without_a_pixel_has_no_region() {
        assert_eq!(crop_region(&GrayImage::new(8, 8), 4), None);
        assert_eq!(crop_region(&GrayImage::new(0, 0), 4), None);
    }

    #[test]
    fn padding_stops_at_the_edges() {
        let mut mask = GrayImage::new(10, 6);
        mask.put_pixel(2, 1, image::Luma([1]));
        mask.put_pixel(7, 3, image::Luma([255]));
        let region = |left, top, right, bottom| Some(Region { left, top, right, bottom });
        assert_eq!(crop_region(&mask, 0), region(2, 1, 8, 4));
        assert_eq!(crop_region(&mask, 2), region(0, 0, 10, 6));
        assert_eq!(crop_region(&mask, u32::MAX), region(0, 0, 10, 6));
    }

    #[test]
    fn what_lies_outside_is_cut_and_nothing_is_an_error() {
        let picture = GrayImage::from_fn(4, 4, |x, y| image::Luma([(y * 4 + x) as u8]));
        let cut = crop(&picture, Region { left: 2, top: 3, right: 9, bottom: 9 }).unwrap();
        assert_eq!((cut.dimensions(), cut.into_raw()), ((2, 1), vec![14, 15]));
        let outside = Region { left: 4, top: 0, right: 9, bottom: 2 };
        assert_eq!(crop(&picture, outside).unwrap_err().reason(), "EmptyPicture");
    }
}
