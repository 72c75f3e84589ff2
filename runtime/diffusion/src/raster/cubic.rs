//! OpenCV's `resize` with `INTER_CUBIC`.
//!
//! Facts: OpenCV's `modules/imgproc/src/resize.cpp` (a = -0.75, the edge repeated). The library as it is
//! published for x86 computes eight-bit pictures without rounding before the end; so does this, and a
//! value that comes to lie within 1e-4 of the middle between two levels may still become the other one.

use image::{ImageBuffer, Pixel};

use super::error::{RasterError, check_size};

/// Resizes to exactly `width` x `height`, without a wider kernel for smaller sizes.
///
/// # Errors
/// A side is zero or over the limits.
pub fn resize_cubic<P>(
    image: &ImageBuffer<P, Vec<u8>>,
    width: u32,
    height: u32,
) -> Result<ImageBuffer<P, Vec<u8>>, RasterError>
where
    P: Pixel<Subpixel = u8>,
{
    check_size(image.width(), image.height())?;
    check_size(width, height)?;
    if (width, height) == image.dimensions() {
        return Ok(image.clone());
    }
    let n = P::CHANNEL_COUNT as usize;
    let to = (width as usize, height as usize);
    let planes: Vec<Vec<f64>> = (0..n)
        .map(|c| {
            let plane: Vec<f64> = image.as_raw().iter().skip(c).step_by(n).map(|v| f64::from(*v)).collect();
            resize_cubic_plane(&plane, image.width() as usize, to)
        })
        .collect();
    let level = |value: f64| value.round_ties_even().clamp(0.0, 255.0) as u8;
    let values = (0..to.0 * to.1).flat_map(|i| planes.iter().map(move |plane| level(plane[i]))).collect();
    Ok(ImageBuffer::from_raw(width, height, values).expect("one value for each channel of each new pixel"))
}

/// The same on f64 values in rows of `width`, neither of whose sides is zero, to (width, height).
pub(crate) fn resize_cubic_plane(values: &[f64], width: usize, to: (usize, usize)) -> Vec<f64> {
    let columns = taps(width, to.0);
    let rows = taps(values.len() / width, to.1);
    let weigh = |tap: &Taps, at: &dyn Fn(usize) -> f64| -> f64 {
        (0..4).map(|k| at(tap.0[k]) * f64::from(tap.1[k])).sum()
    };
    let across: Vec<Vec<f64>> = values
        .chunks_exact(width)
        .map(|row| columns.iter().map(|tap| weigh(tap, &|x| row[x])).collect())
        .collect();
    rows.iter().flat_map(|tap| (0..to.0).map(|x| weigh(tap, &|y| across[y][x])).collect::<Vec<_>>()).collect()
}

/// Four old positions and their weights.
type Taps = ([usize; 4], [f32; 4]);

fn taps(old: usize, new: usize) -> Vec<Taps> {
    let scale = 1.0 / (new as f64 / old as f64);
    (0..new)
        .map(|i| {
            let position = ((i as f64 + 0.5) * scale - 0.5) as f32;
            let low = position.floor();
            let at = std::array::from_fn(|k| (low as i64 + k as i64 - 1).clamp(0, old as i64 - 1) as usize);
            (at, weights(position - low))
        })
        .collect()
}

fn weights(x: f32) -> [f32; 4] {
    const A: f32 = -0.75;
    let far = ((A * (x + 1.0) - 5.0 * A) * (x + 1.0) + 8.0 * A) * (x + 1.0) - 4.0 * A;
    let near = |x: f32| ((A + 2.0) * x - (A + 3.0)) * x * x + 1.0;
    let (left, right) = (near(x), near(1.0 - x));
    [far, left, right, 1.0 - far - left - right]
}
