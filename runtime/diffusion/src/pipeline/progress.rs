//! How far a generation is, and who is told.

use std::ops::ControlFlow;

use candle_core::{Error, Result};
use image::RgbImage;

use super::error::GenerateError;

/// What is being done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Stage {
    /// Prompts, and pictures that were brought along, are being encoded.
    Encode,
    /// The sampler walks from noise to latents.
    Denoise,
    /// Latents are becoming pictures.
    Decode,
}

/// A report: `step` of `total` of this stage is done. Where samplers choose their steps, the total is an
/// estimate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress {
    pub stage: Stage,
    pub step: u32,
    pub total: u32,
}

/// Follows a generation and may end it.
///
/// Any function `FnMut(Progress) -> ControlFlow<()>` follows one through [`Pipeline::generate`](
/// super::Pipeline::generate).
pub trait Observer {
    /// Called before the first and after every step. In steps that ask the model more than once, the last
    /// report comes again before each further evaluation, so that `Break` ends the work soon.
    fn progress(&mut self, progress: Progress) -> ControlFlow<()>;

    /// Should [`Observer::preview`] be called after this step? A preview costs time.
    fn wants_preview(&mut self, _progress: Progress) -> bool {
        false
    }

    /// What the pictures of the batch are becoming.
    fn preview(&mut self, _pictures: Vec<RgbImage>) {}
}

/// A function as an observer.
pub(super) struct Listener<'a>(pub &'a mut dyn FnMut(Progress) -> ControlFlow<()>);

impl Observer for Listener<'_> {
    fn progress(&mut self, progress: Progress) -> ControlFlow<()> {
        (self.0)(progress)
    }
}

/// Passes reports on and remembers whether the work was ended.
pub(super) struct Reporter<'o> {
    observer: &'o mut dyn Observer,
    last: Option<Progress>,
    /// The last report is newer than the last evaluation.
    fresh: bool,
    stopped: bool,
}

impl<'o> Reporter<'o> {
    pub fn new(observer: &'o mut dyn Observer) -> Self {
        Self { observer, last: None, fresh: false, stopped: false }
    }

    pub fn report(&mut self, stage: Stage, step: u32, total: u32) -> std::result::Result<(), GenerateError> {
        let progress = Progress { stage, step, total };
        self.last = Some(progress);
        self.fresh = true;
        self.tell(progress);
        if self.stopped { Err(GenerateError::Cancelled) } else { Ok(()) }
    }

    /// Called before each evaluation: repeats the last report where an evaluation was made since.
    pub fn poll(&mut self) -> Result<()> {
        if !std::mem::take(&mut self.fresh)
            && let Some(last) = self.last
        {
            self.tell(last);
        }
        if self.stopped { Err(Error::Msg("the generation was cancelled".into())) } else { Ok(()) }
    }

    /// Shows pictures made by `draw`, if the observer wants them now.
    pub fn preview(&mut self, draw: impl FnOnce() -> Result<Vec<RgbImage>>) -> Result<()> {
        if let Some(last) = self.last
            && self.observer.wants_preview(last)
        {
            self.observer.preview(draw()?);
        }
        Ok(())
    }

    /// What an error of the arithmetic was: perhaps only the way out of a sampler.
    pub fn failed(&self, stage: Stage, source: Error) -> GenerateError {
        if self.stopped { GenerateError::Cancelled } else { GenerateError::Tensor { stage, source } }
    }

    fn tell(&mut self, progress: Progress) {
        self.stopped |= self.observer.progress(progress).is_break();
    }
}
