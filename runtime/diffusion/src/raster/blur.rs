//! OpenCV's `GaussianBlur`, for eight-bit masks bit for bit.
//!
//! Facts: OpenCV's `modules/imgproc/src/smooth.dispatch.cpp` (kernel, its quantisation with carried
//! error) and `smooth.simd.hpp` (8.8 fixed point); A1111's `modules/processing.py` for the kernel size.

use image::GrayImage;

use super::error::{RasterError, check_size};

/// Widest blur: A1111's slider ends at 64.
const MAX_SIGMA: f32 = 1024.0;

/// Blurs a mask as A1111 does: first along x, then along y, rounded in between; 0 leaves a direction
/// alone. The kernel has 2·int(2.5·sigma + 0.5) + 1 weights.
///
/// # Errors
/// A sigma is negative, not a number or over the limit, or the mask is empty or over the limits.
pub fn gaussian_blur(mask: &GrayImage, sigma_x: f32, sigma_y: f32) -> Result<GrayImage, RasterError> {
    check_size(mask.width(), mask.height())?;
    for sigma in [sigma_x, sigma_y] {
        if !(0.0..=MAX_SIGMA).contains(&sigma) {
            return Err(RasterError::Sigma { sigma, limit: MAX_SIGMA });
        }
    }
    let mut out = mask.clone();
    if sigma_x > 0.0 {
        let (weights, width) = (mask_kernel(sigma_x), mask.width() as usize);
        for row in out.chunks_exact_mut(width) {
            row.copy_from_slice(&blur_line(row, &weights));
        }
    }
    if sigma_y > 0.0 {
        let weights = mask_kernel(sigma_y);
        for x in 0..mask.width() {
            let column: Vec<u8> = (0..mask.height()).map(|y| out.get_pixel(x, y).0[0]).collect();
            for (y, value) in blur_line(&column, &weights).into_iter().enumerate() {
                out.put_pixel(x, y as u32, image::Luma([value]));
            }
        }
    }
    Ok(out)
}

fn mask_kernel(sigma: f32) -> Vec<u32> {
    let half = (2.5 * f64::from(sigma) + 0.5) as usize;
    quantised(&kernel(half, f64::from(sigma)))
}

/// The weights of a Gaussian at -`half`..=`half`, with sum one.
fn kernel(half: usize, sigma: f64) -> Vec<f64> {
    let scale = -0.5 / (sigma * sigma);
    let side: Vec<f64> = (0..half).map(|i| ((half - i).pow(2) as f64 * scale).exp()).collect();
    let share = 1.0 / (side.iter().sum::<f64>() * 2.0 + 1.0);
    let side = side.iter().map(|w| w * share);
    side.clone().chain([share]).chain(side.rev()).collect()
}

/// Weights in 1/256 whose sum is exactly 256: each carries the rounding error of the one before.
fn quantised(kernel: &[f64]) -> Vec<u32> {
    let half = kernel.len() / 2;
    let mut error = 0.0;
    let mut side = Vec::with_capacity(half);
    for weight in &kernel[..half] {
        let wanted = weight * 256.0 + error;
        let rounded = wanted.round_ties_even();
        error = wanted - rounded;
        side.push(rounded as u32);
    }
    let middle = 256 - 2 * side.iter().sum::<u32>();
    side.iter().copied().chain([middle]).chain(side.iter().rev().copied()).collect()
}

/// The line goes on mirrored about its end pixels, as often as the kernel needs.
fn blur_line(line: &[u8], weights: &[u32]) -> Vec<u8> {
    let extended: Vec<u32> = reach(line.len(), weights.len()).iter().map(|x| u32::from(line[*x])).collect();
    extended
        .windows(weights.len())
        .map(|window| {
            let sum: u32 = window.iter().zip(weights).map(|(p, w)| p * w).sum();
            ((sum + 128) >> 8) as u8
        })
        .collect()
}

/// For a line of `length` the index of each value that a kernel of `taps` reaches, from the left end:
/// mirrored about the end values, which are not repeated. A line of one has only that.
fn reach(length: usize, taps: usize) -> Vec<usize> {
    let half = (taps / 2) as i64;
    let period = 2 * (length as i64 - 1);
    (-half..length as i64 + half)
        .map(|at| {
            let at = if period == 0 { 0 } else { at.rem_euclid(period) };
            at.min(period - at) as usize
        })
        .collect()
}

/// Blurs f32 values in rows of `width` with the same sigma in both directions, the ends mirrored; the
/// kernel reaches as far as OpenCV's does for floats when no size is given (4 sigma).
///
/// # Errors
/// As for [`gaussian_blur`].
pub fn blur_plane(values: &[f32], width: usize, sigma: f32) -> Result<Vec<f32>, RasterError> {
    if !(sigma > 0.0 && sigma <= MAX_SIGMA) {
        return Err(RasterError::Sigma { sigma, limit: MAX_SIGMA });
    }
    let size = ((f64::from(sigma) * 8.0 + 1.0).round_ties_even() as usize) | 1;
    let weights: Vec<f32> = kernel(size / 2, f64::from(sigma)).into_iter().map(|w| w as f32).collect();
    let height = values.len().checked_div(width).unwrap_or(0);
    check_size(width.try_into().unwrap_or(u32::MAX), height.try_into().unwrap_or(u32::MAX))?;
    let columns = reach(width, weights.len());
    let mut rows: Vec<f32> = Vec::with_capacity(values.len());
    for row in values.chunks_exact(width) {
        let extended: Vec<f32> = columns.iter().map(|x| row[*x]).collect();
        let sum = |window: &[f32]| window.iter().zip(&weights).map(|(v, w)| w * v).sum::<f32>();
        rows.extend(extended.windows(weights.len()).map(sum));
    }
    let lines = reach(height, weights.len());
    let mut out = vec![0.0_f32; rows.len()];
    for (y, line) in out.chunks_exact_mut(width).enumerate() {
        for (from, weight) in lines[y..].iter().zip(&weights) {
            for (sum, value) in line.iter_mut().zip(&rows[from * width..]) {
                *sum += weight * value;
            }
        }
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flat_mask_stays_flat_and_a_wild_sigma_is_an_error() {
        let mask = GrayImage::from_pixel(5, 1, image::Luma([255]));
        assert_eq!(gaussian_blur(&mask, 30.0, 30.0).unwrap(), mask);
        for sigma in [-1.0, f32::NAN, f32::INFINITY, 2000.0] {
            assert_eq!(gaussian_blur(&mask, sigma, 0.0).unwrap_err().reason(), "InvalidBlur", "{sigma}");
        }
    }
}
