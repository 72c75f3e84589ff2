//! A second pass at a larger size: A1111's "Hires. fix".

use std::str::FromStr;

use crate::raster::LatentFilter;
use crate::samplers::Sampler;
use crate::schedule::Schedule;

/// Enlarges what the first pass drew, and draws it once more from some noise.
#[derive(Debug, Clone, PartialEq)]
pub struct Hires {
    pub size: HiresSize,
    pub upscaler: Upscaler,
    /// Steps that are really taken; `None` is as many as the first pass.
    pub steps: Option<u32>,
    /// Above 0, to 1: how much noise the second pass starts from.
    pub strength: f64,
    /// `None` is the first pass's sampler.
    pub sampler: Option<Sampler>,
    /// `None` is the first pass's schedule.
    pub schedule: Option<Schedule>,
    /// `None` is the first pass's prompt.
    pub prompt: Option<String>,
    pub negative_prompt: Option<String>,
    /// `None` is the first pass's guidance scale.
    pub guidance_scale: Option<f32>,
}

impl Default for Hires {
    fn default() -> Self {
        Self {
            size: HiresSize::Scale(2.0),
            upscaler: Upscaler::default(),
            steps: None,
            strength: 0.7,
            sampler: None,
            schedule: None,
            prompt: None,
            negative_prompt: None,
            guidance_scale: None,
        }
    }
}

/// How large the second pass is.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum HiresSize {
    /// Times the first pass's sides, from 1 to 4.
    Scale(f64),
    /// Exactly; what sticks out for the proportions' sake is cut off evenly.
    Exact { width: u32, height: u32 },
}

/// How the first pass's result is enlarged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Upscaler {
    /// The latent itself is interpolated.
    Latent(LatentFilter),
    /// Decoded, enlarged with Lanczos' filter, encoded.
    Lanczos,
    /// Decoded, enlarged by repeating pixels, encoded.
    Nearest,
}

impl Default for Upscaler {
    fn default() -> Self {
        Self::Latent(LatentFilter::Bilinear)
    }
}

impl Upscaler {
    /// A1111's name, which infotexts carry.
    pub fn name(self) -> &'static str {
        match self {
            Self::Latent(LatentFilter::Bilinear) => "Latent",
            Self::Latent(LatentFilter::BilinearAntialiased) => "Latent (antialiased)",
            Self::Latent(LatentFilter::Bicubic) => "Latent (bicubic)",
            Self::Latent(LatentFilter::BicubicAntialiased) => "Latent (bicubic antialiased)",
            Self::Latent(LatentFilter::Nearest) => "Latent (nearest)",
            Self::Latent(LatentFilter::NearestExact) => "Latent (nearest-exact)",
            Self::Lanczos => "Lanczos",
            Self::Nearest => "Nearest",
        }
    }
}

/// No upscaler has this name.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error(
    "there is no upscaler `{0}`; known are Lanczos, Nearest, Latent, and Latent with (antialiased), (bicubic), (bicubic antialiased), (nearest) or (nearest-exact)"
)]
pub struct UnknownUpscaler(pub String);

impl FromStr for Upscaler {
    type Err = UnknownUpscaler;

    /// A1111's names, in any case.
    fn from_str(name: &str) -> Result<Self, UnknownUpscaler> {
        match name.to_ascii_lowercase().as_str() {
            "lanczos" => Ok(Self::Lanczos),
            "nearest" => Ok(Self::Nearest),
            other => {
                other.parse().map(Self::Latent).map_err(|_| UnknownUpscaler(name.chars().take(80).collect()))
            }
        }
    }
}

/// A first pass's result, enlarged and cut: A1111's `calculate_target_resolution`. In pixels.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::pipeline) struct HiresPlan {
    /// What the first pass is enlarged to.
    pub enlarged: (u32, u32),
    /// Latents that are cut off in width and height.
    pub cut: (u32, u32),
}

impl HiresPlan {
    pub fn new(size: HiresSize, width: u32, height: u32) -> Self {
        match size {
            HiresSize::Scale(scale) => {
                let times = |side: u32| (f64::from(side) * scale) as u32;
                Self { enlarged: (times(width), times(height)), cut: (0, 0) }
            }
            HiresSize::Exact { width: to_width, height: to_height } => {
                let (w, h) = (u64::from(width.max(1)), u64::from(height.max(1)));
                let (tw, th) = (u64::from(to_width), u64::from(to_height));
                // The side that must grow more sets the size; the other one sticks out.
                let enlarged = if w * th < tw * h {
                    (to_width, clamped(tw * h / w))
                } else {
                    (clamped(th * w / h), to_height)
                };
                let over = |side: u32, to: u32| side.saturating_sub(to) / 8;
                let cut = (over(enlarged.0, to_width), over(enlarged.1, to_height));
                Self { enlarged, cut }
            }
        }
    }

    /// Width and height of the second pass in latents.
    pub fn latents(self) -> (u32, u32) {
        (self.enlarged.0 / 8 - self.cut.0, self.enlarged.1 / 8 - self.cut.1)
    }
}

fn clamped(side: u64) -> u32 {
    u32::try_from(side).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn upscalers_are_found_by_their_names() {
        for name in ["Latent", "latent (BICUBIC antialiased)", "Lanczos", "nearest", "Latent (nearest-exact)"]
        {
            let upscaler: Upscaler = name.parse().unwrap();
            assert!(upscaler.name().eq_ignore_ascii_case(name), "{name}");
        }
        assert!("ESRGAN".parse::<Upscaler>().unwrap_err().to_string().contains("no upscaler `ESRGAN`"));
    }

    #[test]
    fn sizes_are_those_of_the_reference() {
        // From A1111's formulas by hand.
        let cases = [
            (HiresSize::Scale(2.0), (64, 96), (128, 192), (0, 0)),
            (HiresSize::Scale(1.5), (72, 64), (108, 96), (0, 0)),
            (HiresSize::Exact { width: 128, height: 128 }, (64, 64), (128, 128), (0, 0)),
            (HiresSize::Exact { width: 128, height: 96 }, (64, 64), (128, 128), (0, 4)),
            (HiresSize::Exact { width: 96, height: 128 }, (64, 64), (128, 128), (4, 0)),
        ];
        for (size, (width, height), enlarged, cut) in cases {
            assert_eq!(HiresPlan::new(size, width, height), HiresPlan { enlarged, cut }, "{size:?}");
        }
    }
}
