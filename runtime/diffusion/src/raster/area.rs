//! OpenCV's `resize` with `INTER_AREA`, for making pictures smaller.
//!
//! Facts: OpenCV's `modules/imgproc/src/resize.cpp` (`computeResizeAreaTab`, `ResizeArea_Invoker`,
//! `ResizeAreaFast_Invoker`).

use image::{ImageBuffer, Pixel};

use super::error::{RasterError, check_size};

/// The mean of the old pixels under each new one, those at its rim by how much of them it covers.
/// For sizes up to the picture's own: a larger side is an error, since OpenCV then interpolates.
///
/// # Errors
/// A side is zero or larger than the picture's.
pub fn resize_area<P>(
    image: &ImageBuffer<P, Vec<u8>>,
    width: u32,
    height: u32,
) -> Result<ImageBuffer<P, Vec<u8>>, RasterError>
where
    P: Pixel<Subpixel = u8>,
{
    check_size(image.width(), image.height())?;
    check_size(width, height)?;
    if width > image.width() || height > image.height() {
        return Err(RasterError::TooLarge { width, height });
    }
    if (width, height) == image.dimensions() {
        return Ok(image.clone());
    }
    let channels = P::CHANNEL_COUNT as usize;
    let columns = spans(image.width() as usize, width as usize);
    let rows = spans(image.height() as usize, height as usize);
    let whole = image.width().is_multiple_of(width) && image.height().is_multiple_of(height);
    let values = if whole {
        whole_blocks(image.as_raw(), image.width() as usize, channels, (width, height), image.height())
    } else {
        weighted(image.as_raw(), image.width() as usize, channels, &columns, &rows)
    };
    Ok(ImageBuffer::from_raw(width, height, values).expect("one value for each channel of each new pixel"))
}

/// An old pixel and the share of the new one that it makes up.
type Share = (usize, f32);

fn spans(old: usize, new: usize) -> Vec<Vec<Share>> {
    let scale = old as f64 / new as f64;
    (0..new)
        .map(|i| {
            let (from, to) = (i as f64 * scale, i as f64 * scale + scale);
            let cell = scale.min(old as f64 - from);
            let last = (to.floor() as usize).min(old - 1);
            let first = (from.ceil() as usize).min(last);
            let mut shares = Vec::with_capacity(last - first + 2);
            // Slivers under a thousandth are rounding, not coverage.
            if first as f64 - from > 1e-3 {
                shares.push((first - 1, ((first as f64 - from) / cell) as f32));
            }
            shares.extend((first..last).map(|x| (x, (1.0 / cell) as f32)));
            if to - last as f64 > 1e-3 {
                shares.push((last, ((to - last as f64).min(1.0).min(cell) / cell) as f32));
            }
            shares
        })
        .collect()
}

fn weighted(
    values: &[u8],
    width: usize,
    channels: usize,
    columns: &[Vec<Share>],
    rows: &[Vec<Share>],
) -> Vec<u8> {
    let line = columns.len() * channels;
    let mut out = Vec::with_capacity(line * rows.len());
    for row in rows {
        let mut sums = vec![0.0_f32; line];
        for (y, share) in row {
            let old = &values[y * width * channels..(y + 1) * width * channels];
            for (i, sum) in sums.iter_mut().enumerate() {
                let c = i % channels;
                let across = columns[i / channels]
                    .iter()
                    .fold(0.0_f32, |sum, (x, share)| sum + f32::from(old[x * channels + c]) * share);
                *sum += share * across;
            }
        }
        out.extend(sums.iter().map(|sum| sum.round_ties_even() as u8));
    }
    out
}

/// Blocks of whole pixels are summed in integers; for blocks of 2x2 half an even sum rounds up.
fn whole_blocks(
    values: &[u8],
    width: usize,
    channels: usize,
    (new_width, new_height): (u32, u32),
    height: u32,
) -> Vec<u8> {
    let (across, down) = (width / new_width as usize, (height / new_height) as usize);
    let scale = 1.0 / (across * down) as f32;
    let mut out = Vec::with_capacity(new_width as usize * new_height as usize * channels);
    for y in 0..new_height as usize {
        for x in 0..new_width as usize {
            for c in 0..channels {
                let sum: u32 = (0..down)
                    .flat_map(|dy| (0..across).map(move |dx| (dy, dx)))
                    .map(|(dy, dx)| {
                        u32::from(values[((y * down + dy) * width + x * across + dx) * channels + c])
                    })
                    .sum();
                let mean = if (across, down) == (2, 2) { (sum + 2) >> 2 } else { round_mean(sum, scale) };
                out.push(mean as u8);
            }
        }
    }
    out
}

fn round_mean(sum: u32, scale: f32) -> u32 {
    (sum as f32 * scale).round_ties_even() as u32
}
