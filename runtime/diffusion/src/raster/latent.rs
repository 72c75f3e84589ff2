//! Resizing latents as `torch.nn.functional.interpolate` does with a size and without aligned corners.
//!
//! Facts: ATen's `UpSample.h` (source indices, cubic with a = -0.75) and `UpSampleKernel.cpp`
//! (antialiased windows, there with a = -0.5). Positions are f32, as in the reference: that decides
//! which pixel the nearest one is.

use std::str::FromStr;

use candle_core::{Result, Tensor};

/// The latent upscalers of A1111.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum LatentFilter {
    /// `Latent`.
    #[default]
    Bilinear,
    /// `Latent (antialiased)`.
    BilinearAntialiased,
    /// `Latent (bicubic)`.
    Bicubic,
    /// `Latent (bicubic antialiased)`.
    BicubicAntialiased,
    /// `Latent (nearest)`.
    Nearest,
    /// `Latent (nearest-exact)`.
    NearestExact,
}

const NAMES: &[(&str, LatentFilter)] = &[
    ("latent", LatentFilter::Bilinear),
    ("latent (antialiased)", LatentFilter::BilinearAntialiased),
    ("latent (bicubic)", LatentFilter::Bicubic),
    ("latent (bicubic antialiased)", LatentFilter::BicubicAntialiased),
    ("latent (nearest)", LatentFilter::Nearest),
    ("latent (nearest-exact)", LatentFilter::NearestExact),
];

/// No latent upscaler has this name.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error(
    "latent upscaler `{0}` is unknown: use `Latent`, or `Latent (…)` with antialiased, bicubic, bicubic antialiased, nearest or nearest-exact"
)]
pub struct UnknownLatentFilter(pub String);

impl FromStr for LatentFilter {
    type Err = UnknownLatentFilter;

    /// A1111's names, in any case.
    fn from_str(name: &str) -> std::result::Result<Self, UnknownLatentFilter> {
        let wanted = name.to_ascii_lowercase();
        let found = NAMES.iter().find(|(name, _)| *name == wanted);
        found.map(|(_, filter)| *filter).ok_or_else(|| UnknownLatentFilter(name.to_owned()))
    }
}

/// Old positions with their weights for each new one.
type Taps = Vec<Vec<(usize, f32)>>;

/// Resizes `[batch, channels, h, w]` f32 to `[batch, channels, height, width]`. Each plane is computed
/// by itself.
///
/// # Errors
/// The tensor has not four dimensions, none of them zero, or is not f32.
pub fn resize_latent(latent: &Tensor, height: usize, width: usize, filter: LatentFilter) -> Result<Tensor> {
    let (batch, channels, old_height, old_width) = latent.dims4()?;
    if old_height == 0 || old_width == 0 || height == 0 || width == 0 {
        candle_core::bail!("a latent of {old_height}x{old_width} cannot become {height}x{width}");
    }
    if (old_height, old_width) == (height, width) {
        return Ok(latent.clone());
    }
    let columns = taps(old_width, width, filter);
    let rows = taps(old_height, height, filter);
    let values = latent.flatten_all()?.to_vec1::<f32>()?;
    let mut out = Vec::with_capacity(batch * channels * height * width);
    for plane in values.chunks_exact(old_height * old_width) {
        let across: Vec<f32> =
            plane.chunks_exact(old_width).flat_map(|row| apply(&columns, |x| row[x])).collect();
        for row in &rows {
            out.extend((0..width).map(|x| weigh(row, |y| across[y * width + x])));
        }
    }
    Tensor::from_vec(out, (batch, channels, height, width), latent.device())
}

fn apply(taps: &Taps, at: impl Fn(usize) -> f32) -> Vec<f32> {
    taps.iter().map(|tap| weigh(tap, &at)).collect()
}

fn weigh(tap: &[(usize, f32)], at: impl Fn(usize) -> f32) -> f32 {
    tap.iter().fold(0.0, |sum, (i, weight)| sum + at(*i) * weight)
}

fn taps(old: usize, new: usize, filter: LatentFilter) -> Taps {
    let scale = old as f32 / new as f32;
    let each = |f: &dyn Fn(f32) -> Vec<(usize, f32)>| (0..new).map(|i| f(i as f32)).collect();
    // Fused, as compilers make of the reference's expression: an ulp of a position is one of the result.
    let position = |i: f32| scale.mul_add(i + 0.5, -0.5);
    let nearest = |position: f32| vec![((position.floor() as usize).min(old - 1), 1.0)];
    match filter {
        LatentFilter::Nearest => each(&|i| nearest(i * scale)),
        LatentFilter::NearestExact => each(&|i| nearest((i + 0.5) * scale)),
        LatentFilter::Bilinear => each(&|i| bilinear(old, position(i).max(0.0))),
        LatentFilter::Bicubic => each(&|i| bicubic(old, position(i))),
        LatentFilter::BilinearAntialiased => {
            each(&|i| window(old, scale, i, 1.0, |x| (1.0 - x.abs()).max(0.0)))
        }
        LatentFilter::BicubicAntialiased => each(&|i| window(old, scale, i, 2.0, |x| cubic(x.abs(), -0.5))),
    }
}

fn bilinear(old: usize, position: f32) -> Vec<(usize, f32)> {
    let low = (position as usize).min(old - 1);
    let share = (position - low as f32).clamp(0.0, 1.0);
    vec![(low, 1.0 - share), ((low + 1).min(old - 1), share)]
}

fn bicubic(old: usize, position: f32) -> Vec<(usize, f32)> {
    let low = position.floor();
    let share = position - low;
    let distances = [share + 1.0, share, 1.0 - share, 2.0 - share];
    distances
        .iter()
        .enumerate()
        .map(|(k, distance)| {
            let at = (low as i64 + k as i64 - 1).clamp(0, old as i64 - 1);
            (at as usize, cubic(*distance, -0.75))
        })
        .collect()
}

/// Keys' cubic at a distance of `x` >= 0, fused as positions are.
fn cubic(x: f32, a: f32) -> f32 {
    if x <= 1.0 {
        ((a + 2.0).mul_add(x, -(a + 3.0)) * x).mul_add(x, 1.0)
    } else if x < 2.0 {
        a.mul_add(x, -5.0 * a).mul_add(x, 8.0 * a).mul_add(x, -4.0 * a)
    } else {
        0.0
    }
}

/// A kernel that widens with the scale when the result is smaller than the latent.
fn window(old: usize, scale: f32, i: f32, reach: f32, kernel: impl Fn(f32) -> f32) -> Vec<(usize, f32)> {
    let stretch = scale.max(1.0);
    let (support, inverse) = (reach * stretch, 1.0 / stretch);
    let centre = scale * (i + 0.5);
    let first = ((centre - support + 0.5) as usize).min(old - 1);
    let last = ((centre + support + 0.5) as usize).min(old);
    let weights: Vec<f32> = (first..last).map(|x| kernel((x as f32 - centre + 0.5) * inverse)).collect();
    let sum: f32 = weights.iter().sum();
    (first..last).zip(weights.iter().map(|w| w / sum)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_of_the_web_ui() {
        assert_eq!("Latent".parse(), Ok(LatentFilter::Bilinear));
        assert_eq!("Latent (nearest-exact)".parse(), Ok(LatentFilter::NearestExact));
        assert!("ESRGAN_4x".parse::<LatentFilter>().unwrap_err().to_string().contains("`Latent`"));
    }
}
