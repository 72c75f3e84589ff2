//! What can be asked for, and its limits.

use crate::samplers::Sampler;
use crate::schedule::Schedule;

/// Sides are multiples of this: pixels per latent.
const SIDE_STEP: u32 = 8;
/// Below 64 pixels the UNet's lowest level has less than one latent.
const SIDES: std::ops::RangeInclusive<u32> = 64..=2048;
const STEPS: std::ops::RangeInclusive<u32> = 1..=150;
const BATCH: std::ops::RangeInclusive<u32> = 1..=16;
const CLIP_SKIP: std::ops::RangeInclusive<u32> = 1..=12;
const GUIDANCE: std::ops::RangeInclusive<f32> = 0.0..=30.0;
const ETA: std::ops::RangeInclusive<f32> = 0.0..=1.0;
/// Longest prompt in characters: some 130 chunks if every character is a token.
const MAX_PROMPT: usize = 10_000;

/// A picture from a prompt.
#[derive(Debug, Clone, PartialEq)]
pub struct TextToImage {
    pub prompt: String,
    pub negative_prompt: String,
    pub width: u32,
    pub height: u32,
    pub steps: u32,
    /// 1 skips the unconditional pass.
    pub guidance_scale: f32,
    pub sampler: Sampler,
    pub schedule: Schedule,
    /// Picture `i` of the batch has `seed + i`.
    pub seed: u64,
    pub batch_size: u32,
    /// 1 reads the text encoder's last layer, 2 the one before.
    pub clip_skip: u32,
    /// How much of the noise of each step is fresh; `None` is the sampler's own value.
    pub eta: Option<f32>,
}

impl Default for TextToImage {
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
            eta: None,
        }
    }
}

/// Why a request is refused.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum RequestError {
    #[error("{field} is {value}; it must be a multiple of {SIDE_STEP} from {} to {}: try {nearest}", SIDES.start(), SIDES.end())]
    Side { field: &'static str, value: u32, nearest: u32 },
    #[error("{field} is {value}; it must be from {min} to {max}")]
    Range { field: &'static str, value: u32, min: u32, max: u32 },
    #[error("{field} is {value}; it must be a number from {min} to {max}")]
    Number { field: &'static str, value: f32, min: f32, max: f32 },
    #[error("{field} has {length} characters, the limit is {MAX_PROMPT}: shorten it")]
    PromptTooLong { field: &'static str, length: usize },
    #[error("steps is {steps}; {sampler} needs at least {min}")]
    StepsOfSampler { sampler: &'static str, steps: u32, min: u32 },
    #[error("clip_skip is {value}; this model's text encoder has {layers} layers")]
    ClipSkipOfModel { value: u32, layers: u32 },
}

impl RequestError {
    /// Stable CamelCase word for statuses and metrics.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::Side { .. } => "InvalidSize",
            Self::Range { .. } | Self::Number { .. } => "OutOfRange",
            Self::PromptTooLong { .. } => "PromptTooLong",
            Self::StepsOfSampler { .. } => "InvalidSteps",
            Self::ClipSkipOfModel { .. } => "InvalidClipSkip",
        }
    }

    /// A request does not get better by sending it again.
    pub fn retriable(&self) -> bool {
        match self {
            Self::Side { .. }
            | Self::Range { .. }
            | Self::Number { .. }
            | Self::PromptTooLong { .. }
            | Self::StepsOfSampler { .. }
            | Self::ClipSkipOfModel { .. } => false,
        }
    }
}

impl TextToImage {
    /// Checks all that can be checked without a model.
    ///
    /// # Errors
    /// The first value out of its limits.
    pub fn validate(&self) -> Result<(), RequestError> {
        side("width", self.width)?;
        side("height", self.height)?;
        range("steps", self.steps, &STEPS)?;
        range("batch_size", self.batch_size, &BATCH)?;
        range("clip_skip", self.clip_skip, &CLIP_SKIP)?;
        number("guidance_scale", self.guidance_scale, &GUIDANCE)?;
        if let Some(eta) = self.eta {
            number("eta", eta, &ETA)?;
        }
        prompt("prompt", &self.prompt)?;
        prompt("negative_prompt", &self.negative_prompt)?;
        let entry = self.sampler.entry();
        if self.steps < entry.min_steps {
            let (sampler, min) = (entry.name, entry.min_steps);
            return Err(RequestError::StepsOfSampler { sampler, steps: self.steps, min });
        }
        Ok(())
    }

    /// The seed of each picture.
    pub(super) fn seeds(&self) -> Vec<u64> {
        (0..u64::from(self.batch_size)).map(|i| self.seed.wrapping_add(i)).collect()
    }

    /// The seeds of each run of the sampler: all at once, or one by one for a sampler that must be alone.
    pub(super) fn runs(&self) -> Vec<Vec<u64>> {
        let seeds = self.seeds();
        if self.sampler.entry().alone { seeds.into_iter().map(|s| vec![s]).collect() } else { vec![seeds] }
    }

    /// Eta as the sampler is given it.
    pub(crate) fn effective_eta(&self) -> f32 {
        self.eta.unwrap_or_else(|| self.sampler.entry().eta.map_or(0.0, |(default, _)| default))
    }
}

fn side(field: &'static str, value: u32) -> Result<(), RequestError> {
    if SIDES.contains(&value) && value.is_multiple_of(SIDE_STEP) {
        return Ok(());
    }
    let nearest = (value.clamp(*SIDES.start(), *SIDES.end()) + SIDE_STEP / 2) / SIDE_STEP * SIDE_STEP;
    Err(RequestError::Side { field, value, nearest })
}

fn range(
    field: &'static str,
    value: u32,
    limits: &std::ops::RangeInclusive<u32>,
) -> Result<(), RequestError> {
    if limits.contains(&value) {
        return Ok(());
    }
    Err(RequestError::Range { field, value, min: *limits.start(), max: *limits.end() })
}

fn number(
    field: &'static str,
    value: f32,
    limits: &std::ops::RangeInclusive<f32>,
) -> Result<(), RequestError> {
    // NaN is in no range.
    if limits.contains(&value) {
        return Ok(());
    }
    Err(RequestError::Number { field, value, min: *limits.start(), max: *limits.end() })
}

fn prompt(field: &'static str, text: &str) -> Result<(), RequestError> {
    let length = text.chars().count();
    if length > MAX_PROMPT { Err(RequestError::PromptTooLong { field, length }) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_out_of_bounds_are_refused_with_value_limit_and_remedy() {
        type Change = fn(&mut TextToImage);
        let cases: &[(&str, Change, &str)] = &[
            (
                "width 100",
                |r| r.width = 100,
                "width is 100; it must be a multiple of 8 from 64 to 2048: try 104",
            ),
            ("height 0", |r| r.height = 0, "height is 0; it must be a multiple of 8 from 64 to 2048: try 64"),
            (
                "height 4096",
                |r| r.height = 4096,
                "height is 4096; it must be a multiple of 8 from 64 to 2048: try 2048",
            ),
            ("no steps", |r| r.steps = 0, "steps is 0; it must be from 1 to 150"),
            ("empty batch", |r| r.batch_size = 0, "batch_size is 0; it must be from 1 to 16"),
            ("clip skip 0", |r| r.clip_skip = 0, "clip_skip is 0; it must be from 1 to 12"),
            (
                "guidance NaN",
                |r| r.guidance_scale = f32::NAN,
                "guidance_scale is NaN; it must be a number from 0 to 30",
            ),
            ("eta 2", |r| r.eta = Some(2.0), "eta is 2; it must be a number from 0 to 1"),
            (
                "long prompt",
                |r| r.prompt = "é".repeat(10_001),
                "prompt has 10001 characters, the limit is 10000: shorten it",
            ),
            (
                "DDIM with one step",
                |r| {
                    r.steps = 1;
                    r.sampler = Sampler::parse("DDIM").unwrap().0;
                },
                "steps is 1; DDIM needs at least 2",
            ),
        ];
        assert_eq!(TextToImage::default().validate(), Ok(()));
        for (name, change, want) in cases {
            let mut request = TextToImage::default();
            change(&mut request);
            assert_eq!(request.validate().unwrap_err().to_string(), *want, "{name}");
        }
    }

    #[test]
    fn each_picture_has_its_own_seed() {
        let request = TextToImage { seed: u64::MAX, batch_size: 3, ..Default::default() };
        assert_eq!(request.seeds(), [u64::MAX, 0, 1]);
    }
}
