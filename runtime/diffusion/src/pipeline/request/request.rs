//! The request itself.

use crate::control::ControlUnit;
use crate::random::NoiseSource;
use crate::samplers::Sampler;
use crate::schedule::{Schedule, SigmaOptions};
use crate::text::EmphasisMode;

use super::hires::Hires;
use super::mode::Mode;
use super::sampling::{Churn, Variation};

/// Pictures from a prompt, and perhaps from another picture.
#[derive(Debug, Clone)]
pub struct Request {
    pub prompt: String,
    pub negative_prompt: String,
    pub width: u32,
    pub height: u32,
    pub steps: u32,
    /// 1 skips the unconditional pass.
    pub guidance_scale: f32,
    pub sampler: Sampler,
    pub schedule: Schedule,
    /// Picture `i` of the batch has `seed + i`; with a variation all have this one.
    pub seed: u64,
    pub batch_size: u32,
    /// 1 reads the text encoder's last layer, 2 the one before.
    pub clip_skip: u32,
    /// What weights in prompts do.
    pub emphasis: EmphasisMode,
    /// How much of the noise of each step is fresh; `None` is the sampler's own value.
    pub eta: Option<f32>,
    pub mode: Mode,
    /// A second, larger pass; only from text.
    pub hires: Option<Hires>,
    pub variation: Option<Variation>,
    /// Width and height whose noise is taken, in the middle of this request's size.
    pub seed_resize: Option<(u32, u32)>,
    /// Pictures whose opposite edges fit.
    pub tiling: bool,
    /// From 0 to 1: from which share of the noise levels on the refiner goes on. Needs a refiner.
    pub refiner_switch_at: Option<f64>,
    /// From 0, no change, to 1: how far the guided prediction gets the deviation of the conditional one
    /// (Lin et al. 2023, "Common Diffusion Noise Schedules and Sample Steps are Flawed", section 3.4).
    pub guidance_rescale: f32,
    pub noise_source: NoiseSource,
    /// Added to the seed of the noise that samplers draw after the first: A1111's ENSD.
    pub ensd: u32,
    pub churn: Churn,
    /// Leave out the last noise level before zero, where the sampler does not do so anyway.
    pub discard_penultimate: bool,
    /// Bounds and curvature of the schedule; which model's levels `Align Your Steps` takes is the
    /// pipeline's business.
    pub sigmas: SigmaOptions,
    /// How closely an instruct-pix2pix model keeps to the picture; `None` is 1.5.
    pub image_guidance_scale: Option<f32>,
    /// Networks that steer the composition. Where only the masked part is drawn, hints are of that part.
    pub control: Vec<ControlUnit>,
}

impl Default for Request {
    fn default() -> Self {
        Self {
            prompt: String::new(),
            negative_prompt: String::new(),
            width: 512,
            height: 512,
            steps: 20,
            guidance_scale: 7.0,
            sampler: Sampler::default(),
            schedule: Schedule::Automatic,
            seed: 0,
            batch_size: 1,
            clip_skip: 1,
            emphasis: EmphasisMode::Original,
            eta: None,
            mode: Mode::TextToImage,
            hires: None,
            variation: None,
            seed_resize: None,
            tiling: false,
            refiner_switch_at: None,
            guidance_rescale: 0.0,
            noise_source: NoiseSource::Cpu,
            ensd: 0,
            churn: Churn::default(),
            discard_penultimate: false,
            sigmas: SigmaOptions::default(),
            image_guidance_scale: None,
            control: Vec::new(),
        }
    }
}

impl Request {
    /// The seed of the `picture`-th of the batch: one for all where a second seed tells them apart.
    pub(crate) fn seed_of(&self, picture: u32) -> u64 {
        if self.variation.is_some_and(|v| v.strength > 0.0) {
            return self.seed;
        }
        self.seed.wrapping_add(u64::from(picture))
    }

    /// The seed of each picture.
    pub(in crate::pipeline) fn seeds(&self) -> Vec<u64> {
        (0..self.batch_size).map(|picture| self.seed_of(picture)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_picture_has_its_own_seed() {
        let request = Request { seed: u64::MAX, batch_size: 3, ..Default::default() };
        assert_eq!(request.seeds(), [u64::MAX, 0, 1]);
    }
}
