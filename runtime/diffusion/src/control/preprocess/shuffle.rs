//! `shuffle`: the picture flowing along two smooth random fields; colours stay, composition goes.
//!
//! Facts: `ContentShuffleDetector` and `make_noise_disk` of the extension's annotators; numpy's
//! `RandomState` (MT19937, 53 bits a number); OpenCV's cubic `resize` and linear `remap` of version 4,
//! which rounds positions to 1/32 of a pixel. The extension draws from a generator that nobody seeds;
//! here it is `RandomState(seed)`, so a request gives the same hint again.

use image::{Rgb, RgbImage};

use super::preprocessor::{Checked, Prepared, Preprocessor};
use super::size::to_resolution;
use crate::random::Mt19937;
use crate::raster::{RasterError, resize_cubic_plane};

/// Pixels from one random number to the next.
const PATCH: usize = 256;

pub(super) struct Shuffle;

impl Preprocessor for Shuffle {
    fn name(&self) -> &'static str {
        "shuffle"
    }

    fn run(&self, source: &Checked) -> Result<Prepared, RasterError> {
        let picture = to_resolution(source.image, source.resolution)?;
        let (width, height) = (picture.width() as usize, picture.height() as usize);
        let mut engine = Mt19937::new(source.seed);
        let columns = field(&mut engine, width, height, width - 1);
        let rows = field(&mut engine, width, height, height - 1);
        let mut out = picture.clone();
        for ((pixel, x), y) in out.pixels_mut().zip(columns).zip(rows) {
            *pixel = between(&picture, x, y);
        }
        Ok(out.into())
    }
}

/// Smooth noise from 0 to `most`, a value for each pixel.
fn field(engine: &mut Mt19937, width: usize, height: usize, most: usize) -> Vec<f32> {
    let (across, down) = (width / PATCH + 2, height / PATCH + 2);
    let coarse: Vec<f64> = (0..across * down).map(|_| uniform(engine)).collect();
    let full = resize_cubic_plane(&coarse, across, (width + 2 * PATCH, height + 2 * PATCH));
    let line = width + 2 * PATCH;
    let mut noise: Vec<f64> = full
        .chunks_exact(line)
        .skip(PATCH)
        .take(height)
        .flat_map(|row| row[PATCH..PATCH + width].iter().copied())
        .collect();
    let least = noise.iter().copied().fold(f64::INFINITY, f64::min);
    for value in &mut noise {
        *value -= least;
    }
    let greatest = noise.iter().copied().fold(0.0, f64::max);
    // A single pixel has no range; it stays where it is.
    let scale = if greatest > 0.0 { 1.0 / greatest } else { 0.0 };
    noise.iter().map(|value| (value * scale * most as f64) as f32).collect()
}

/// numpy's double: 27 and 26 bits of two draws.
fn uniform(engine: &mut Mt19937) -> f64 {
    let high = f64::from(engine.next_u32() >> 5);
    let low = f64::from(engine.next_u32() >> 6);
    (high * 67_108_864.0 + low) / 9_007_199_254_740_992.0
}

/// The picture at a place between pixels, in 1/32 steps; outside it is black.
fn between(image: &RgbImage, x: f32, y: f32) -> Rgb<u8> {
    const STEPS: f32 = 32.0;
    let split = |at: f32| {
        let steps = (at * STEPS).round_ties_even() as u32;
        (steps / 32, steps % 32)
    };
    let ((left, right_share), (top, bottom_share)) = (split(x), split(y));
    let pixel = |x: u32, y: u32| image.get_pixel_checked(x, y).map_or([0; 3], |p| p.0);
    let corners = [
        (pixel(left, top), (32 - right_share) * (32 - bottom_share)),
        (pixel(left + 1, top), right_share * (32 - bottom_share)),
        (pixel(left, top + 1), (32 - right_share) * bottom_share),
        (pixel(left + 1, top + 1), right_share * bottom_share),
    ];
    Rgb(std::array::from_fn(|c| {
        let sum: u32 = corners.iter().map(|(pixel, weight)| u32::from(pixel[c]) * weight).sum();
        ((sum + 512) >> 10) as u8
    }))
}
