//! Resizing as Pillow does it: two passes, each rounded to eight bits.
//!
//! The rows are done before the columns, as up to Pillow 11: which pass is first decides last bits.
//!
//! Facts: Pillow's `src/libImaging/Resample.c` (windows, normalisation, 22-bit coefficients) and, for
//! nearest neighbour, `Geometry.c` (`ImagingScaleAffine`).

use image::{ImageBuffer, Pixel};

use super::error::{RasterError, check_size};
use super::filter::Filter;

/// Bits behind the point of a coefficient: eight bits of a pixel and two of head room are left of 32.
const PRECISION: u32 = 22;

/// Resizes to exactly `width` x `height`, as `Image.resize` of a whole picture.
///
/// # Errors
/// A side is zero or over the limits.
pub fn resize<P>(
    image: &ImageBuffer<P, Vec<u8>>,
    width: u32,
    height: u32,
    filter: Filter,
) -> Result<ImageBuffer<P, Vec<u8>>, RasterError>
where
    P: Pixel<Subpixel = u8>,
{
    let whole = [0.0, 0.0, image.width() as f32, image.height() as f32];
    resize_box(image, width, height, filter, whole)
}

/// Resizes the part between (`from[0]`, `from[1]`) and (`from[2]`, `from[3]`), which may be empty in one
/// direction: its edge is then what is stretched.
pub(super) fn resize_box<P>(
    image: &ImageBuffer<P, Vec<u8>>,
    width: u32,
    height: u32,
    filter: Filter,
    from: [f32; 4],
) -> Result<ImageBuffer<P, Vec<u8>>, RasterError>
where
    P: Pixel<Subpixel = u8>,
{
    check_size(image.width(), image.height())?;
    check_size(width, height)?;
    let mut now = Plane {
        width: image.width() as usize,
        height: image.height() as usize,
        channels: P::CHANNEL_COUNT as usize,
        values: image.as_raw().clone(),
    };
    let (horizontal, vertical) = ((from[0], from[2]), (from[1], from[3]));
    if filter == Filter::Nearest {
        now = now.nearest(&nearest(now.width, horizontal, width), &nearest(now.height, vertical, height));
    } else {
        // A pass that changes nothing is left out, also where it would not be the identity.
        if (width, horizontal) != (image.width(), (0.0, image.width() as f32)) {
            now = now.horizontal(&windows(now.width, horizontal, width as usize, filter));
        }
        if (height, vertical) != (image.height(), (0.0, image.height() as f32)) {
            now = now.vertical(&windows(now.height, vertical, height as usize, filter));
        }
    }
    Ok(ImageBuffer::from_raw(width, height, now.values).expect("both passes made exactly this size"))
}

/// The old pixels under a new one and their weights.
struct Window {
    first: usize,
    weights: Vec<i32>,
}

fn windows(size: usize, (from, to): (f32, f32), out: usize, filter: Filter) -> Vec<Window> {
    let scale = f64::from(to - from) / out as f64;
    let stretch = scale.max(1.0);
    let support = filter.support() * stretch;
    (0..out)
        .map(|i| {
            let centre = f64::from(from) + (i as f64 + 0.5) * scale;
            // Truncation towards zero, then the edge: a negative start becomes zero either way.
            let first = ((centre - support + 0.5) as usize).min(size);
            let last = ((centre + support + 0.5) as usize).min(size);
            let inverse = 1.0 / stretch;
            let raw: Vec<f64> =
                (first..last).map(|x| filter.weight((x as f64 - centre + 0.5) * inverse)).collect();
            let sum: f64 = raw.iter().sum();
            let weights = raw.iter().map(|w| fixed(if sum == 0.0 { *w } else { w / sum })).collect();
            Window { first, weights }
        })
        .collect()
}

fn fixed(weight: f64) -> i32 {
    let half = if weight < 0.0 { -0.5 } else { 0.5 };
    (half + weight * f64::from(1 << PRECISION)) as i32
}

fn nearest(size: usize, (from, to): (f32, f32), out: u32) -> Vec<usize> {
    let scale = f64::from(to - from) / f64::from(out);
    // The position is a running sum, as in the reference: a product would round elsewhere.
    let mut position = f64::from(from) + scale * 0.5;
    (0..out)
        .map(|_| {
            let at = (position as usize).min(size - 1);
            position += scale;
            at
        })
        .collect()
}

/// Rows of interleaved channels.
struct Plane {
    width: usize,
    height: usize,
    channels: usize,
    values: Vec<u8>,
}

impl Plane {
    fn nearest(&self, columns: &[usize], rows: &[usize]) -> Self {
        let n = self.channels;
        let mut values = Vec::with_capacity(columns.len() * rows.len() * n);
        for y in rows {
            for x in columns {
                let at = (y * self.width + x) * n;
                values.extend_from_slice(&self.values[at..at + n]);
            }
        }
        Self { width: columns.len(), height: rows.len(), channels: n, values }
    }

    fn horizontal(&self, windows: &[Window]) -> Self {
        let n = self.channels;
        let mut values = Vec::with_capacity(windows.len() * self.height * n);
        for row in self.values.chunks_exact(self.width * n) {
            for window in windows {
                for c in 0..n {
                    let pixels = row[window.first * n + c..].iter().step_by(n);
                    let sum: i64 =
                        pixels.zip(&window.weights).map(|(p, w)| i64::from(*p) * i64::from(*w)).sum();
                    values.push(round(sum));
                }
            }
        }
        Self { width: windows.len(), height: self.height, channels: n, values }
    }

    fn vertical(&self, windows: &[Window]) -> Self {
        let line = self.width * self.channels;
        let mut values = Vec::with_capacity(windows.len() * line);
        let mut sums = vec![0_i64; line];
        for window in windows {
            sums.fill(0);
            for (row, weight) in self.values[window.first * line..].chunks_exact(line).zip(&window.weights) {
                for (sum, pixel) in sums.iter_mut().zip(row) {
                    *sum += i64::from(*pixel) * i64::from(*weight);
                }
            }
            values.extend(sums.iter().map(|sum| round(*sum)));
        }
        Self { width: self.width, height: windows.len(), channels: self.channels, values }
    }
}

fn round(sum: i64) -> u8 {
    ((sum + (1 << (PRECISION - 1))) >> PRECISION).clamp(0, 255) as u8
}

#[cfg(test)]
mod tests {
    use super::*;
    use image::GrayImage;

    #[test]
    fn the_same_size_is_a_copy_and_a_flat_picture_stays_flat() {
        let picture = GrayImage::from_fn(7, 5, |x, y| image::Luma([(x * 31 + y * 17) as u8]));
        let flat = GrayImage::from_pixel(7, 5, image::Luma([200]));
        for filter in [Filter::Nearest, Filter::Box, Filter::Bilinear, Filter::Bicubic, Filter::Lanczos] {
            assert_eq!(resize(&picture, 7, 5, filter).unwrap(), picture, "{filter:?}");
            for (width, height) in [(1, 1), (3, 40), (40, 3)] {
                let got = resize(&flat, width, height, filter).unwrap();
                assert!(got.pixels().all(|p| p.0 == [200]), "{filter:?} {width}x{height}");
            }
        }
    }
}
