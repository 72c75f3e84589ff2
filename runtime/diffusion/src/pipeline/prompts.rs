//! What the model is told, from one evaluation to the next.

use candle_core::Result;

use crate::text::{Conditioning, TextEncoder};

/// Encoded prompts of a pass.
#[derive(Debug)]
pub(super) struct Prompts {
    conds: Vec<(Conditioning, f64)>,
    uncond: Conditioning,
}

/// What holds for one evaluation.
pub(super) struct Said<'a> {
    /// Parts of the prompt with their weights.
    pub conds: Vec<(&'a Conditioning, f64)>,
    pub uncond: &'a Conditioning,
}

impl Prompts {
    pub fn encode(text: &TextEncoder, prompt: &str, negative: &str, clip_skip: usize) -> Result<Self> {
        let conds = vec![(text.encode(prompt, clip_skip)?, 1.0)];
        Ok(Self { conds, uncond: text.encode(negative, clip_skip)? })
    }

    /// What is said at the `evaluation`-th call of the model.
    pub fn at(&self, _evaluation: usize) -> Said<'_> {
        Said { conds: self.conds.iter().map(|(c, w)| (c, *w)).collect(), uncond: &self.uncond }
    }
}
