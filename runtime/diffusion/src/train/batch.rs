//! What one step of training is given.

use candle_core::Tensor;

use crate::text::Conditioning;

/// Pictures, noise and words of one step; all lists have the batch's length.
#[derive(Debug, Clone)]
pub struct Batch {
    /// `[batch, 4, h, w]`: clean latents, scaled as samplers have them.
    pub latents: Tensor,
    /// `[batch, 4, h, w]`, of unit variance but for an offset.
    pub noise: Tensor,
    /// The timestep of each, below the length of the model's noise table.
    pub timesteps: Vec<u32>,
    pub captions: Captions,
    /// What each sample's loss is multiplied by.
    pub weights: Vec<f32>,
    /// Only SDXL reads these; left out they are the size of the latents, uncut.
    pub micro: Option<Vec<MicroConditions>>,
    /// Decides what is dropped where there is dropout.
    pub dropout_seed: u64,
}

/// The words of a batch.
#[derive(Debug, Clone)]
pub enum Captions {
    /// Encoded in every step, which training the text encoder or an embedding needs. Brackets are text.
    Texts(Vec<String>),
    /// As [`Trainee::encode_prompts`](super::Trainee::encode_prompts) gave them, all of one length.
    Encoded(Vec<Conditioning>),
}

impl Captions {
    pub(super) fn len(&self) -> usize {
        match self {
            Self::Texts(texts) => texts.len(),
            Self::Encoded(all) => all.len(),
        }
    }
}

/// What SDXL is told of a picture, height before width, in pixels.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct MicroConditions {
    pub original: (u32, u32),
    /// Top and left of what was cut out.
    pub crop: (u32, u32),
    pub target: (u32, u32),
}

impl MicroConditions {
    pub(super) fn ids(self) -> [f32; 6] {
        let Self { original, crop, target } = self;
        [original.0, original.1, crop.0, crop.1, target.0, target.1].map(|n| n as f32)
    }
}
