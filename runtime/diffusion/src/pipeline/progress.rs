//! How far a generation is.

use std::ops::ControlFlow;

/// What is being done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Stage {
    /// The prompts are being encoded.
    Encode,
    /// The sampler walks from noise to latents.
    Denoise,
    /// Latents are becoming pictures.
    Decode,
}

/// A report: `step` of `total` of this stage is done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress {
    pub stage: Stage,
    pub step: u32,
    pub total: u32,
}

/// Receives reports; `Break` ends the generation.
pub(super) type OnProgress<'a> = &'a mut dyn FnMut(Progress) -> ControlFlow<()>;
