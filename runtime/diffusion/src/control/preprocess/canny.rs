//! `canny`: OpenCV's edges, bit for bit.
//!
//! Facts: OpenCV's `modules/imgproc/src/canny.cpp` with an aperture of 3 and the gradient |dx| + |dy|.

use image::{GrayImage, Luma, Rgb, RgbImage, imageops};

use super::preprocessor::{Checked, Parameter, Prepared, Preprocessor};
use super::size::{padded, to_resolution};
use crate::raster::{RasterError, check_size};

/// tan(22.5°) in 15-bit fixed point.
const TAN_22: i32 = 13_573;

pub(super) struct Canny;

impl Preprocessor for Canny {
    fn name(&self) -> &'static str {
        "canny"
    }

    fn parameters(&self) -> [Option<Parameter>; 2] {
        let slider = |label, default| Some(Parameter { label, minimum: 0.0, maximum: 256.0, default });
        [slider("Low Threshold", 100.0), slider("High Threshold", 200.0)]
    }

    fn run(&self, source: &Checked) -> Result<Prepared, RasterError> {
        let picture = to_resolution(source.image, source.resolution)?;
        let edges = canny(&padded(&picture), source.a as i32, source.b as i32)?;
        let edges = imageops::crop_imm(&edges, 0, 0, picture.width(), picture.height()).to_image();
        Ok(RgbImage::from_fn(edges.width(), edges.height(), |x, y| Rgb([edges.get_pixel(x, y).0[0]; 3]))
            .into())
    }
}

/// 255 on edges, 0 elsewhere. An edge is a ridge of the gradient that is above `high` somewhere and
/// above `low` all along; the thresholds may come in either order.
///
/// # Errors
/// The picture is empty or over the limits.
pub fn canny(image: &RgbImage, low: i32, high: i32) -> Result<GrayImage, RasterError> {
    check_size(image.width(), image.height())?;
    let (low, high) = (low.min(high), low.max(high));
    let (width, height) = (image.width() as usize, image.height() as usize);
    let gradients = gradients(image);
    let magnitude = |x: i64, y: i64| {
        let inside = x >= 0 && y >= 0 && x < width as i64 && y < height as i64;
        if inside { gradients[y as usize * width + x as usize].magnitude() } else { 0 }
    };
    let mut weak = vec![false; width * height];
    let mut edges = GrayImage::new(image.width(), image.height());
    let mut open = Vec::new();
    for y in 0..height {
        for x in 0..width {
            let gradient = gradients[y * width + x];
            if gradient.magnitude() <= low
                || !gradient.is_ridge(|dx, dy| magnitude(x as i64 + dx, y as i64 + dy))
            {
                continue;
            }
            if gradient.magnitude() > high {
                edges.put_pixel(x as u32, y as u32, Luma([255]));
                open.push((x, y));
            } else {
                weak[y * width + x] = true;
            }
        }
    }
    follow(&mut edges, weak, open);
    Ok(edges)
}

/// Strong edges run on along weak ones. Each pixel is opened at most once, which bounds the loop.
fn follow(edges: &mut GrayImage, mut weak: Vec<bool>, mut open: Vec<(usize, usize)>) {
    let (width, height) = (edges.width() as usize, edges.height() as usize);
    while let Some((x, y)) = open.pop() {
        for ny in y.saturating_sub(1)..(y + 2).min(height) {
            for nx in x.saturating_sub(1)..(x + 2).min(width) {
                if std::mem::take(&mut weak[ny * width + nx]) {
                    edges.put_pixel(nx as u32, ny as u32, Luma([255]));
                    open.push((nx, ny));
                }
            }
        }
    }
}

#[derive(Debug, Clone, Copy)]
struct Gradient {
    dx: i16,
    dy: i16,
}

impl Gradient {
    fn magnitude(self) -> i32 {
        i32::from(self.dx).abs() + i32::from(self.dy).abs()
    }

    /// Is it greatest along its direction, rounded to 45 degrees? Ties go to the left and the upper one
    /// on straight ridges and to neither on diagonal ones.
    fn is_ridge(self, at: impl Fn(i64, i64) -> i32) -> bool {
        let own = self.magnitude();
        let x = i32::from(self.dx).abs();
        let y = i32::from(self.dy).abs() << 15;
        let flat = x * TAN_22;
        if y < flat {
            return own > at(-1, 0) && own >= at(1, 0);
        }
        if y > flat + (x << 16) {
            return own > at(0, -1) && own >= at(0, 1);
        }
        let side = if (self.dx ^ self.dy) < 0 { -1 } else { 1 };
        own > at(-side, -1) && own > at(side, 1)
    }
}

/// Sobel's derivatives; of the channels the one with the greatest gradient, of equals the first. Beyond
/// the edge the last pixel is repeated.
fn gradients(image: &RgbImage) -> Vec<Gradient> {
    let (width, height) = image.dimensions();
    let mut out = Vec::with_capacity(width as usize * height as usize);
    for y in 0..height {
        let rows = [y.saturating_sub(1), y, (y + 1).min(height - 1)];
        for x in 0..width {
            let columns = [x.saturating_sub(1), x, (x + 1).min(width - 1)];
            let patch = rows.map(|y| columns.map(|x| image.get_pixel(x, y).0));
            let [mut best, second, third] =
                std::array::from_fn(|c| sobel(patch.map(|row| row.map(|p| p[c]))));
            for other in [second, third] {
                if other.magnitude() > best.magnitude() {
                    best = other;
                }
            }
            out.push(best);
        }
    }
    out
}

fn sobel(patch: [[u8; 3]; 3]) -> Gradient {
    let at = patch.map(|row| row.map(i16::from));
    let across = |row: [i16; 3]| row[2] - row[0];
    let down = |column: usize| at[2][column] - at[0][column];
    Gradient { dx: across(at[0]) + 2 * across(at[1]) + across(at[2]), dy: down(0) + 2 * down(1) + down(2) }
}
