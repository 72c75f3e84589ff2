//! How a run goes.

use std::path::PathBuf;

use super::error::RunError;
use crate::train::Group;
use crate::train::optim::{Algorithm, Decay, EmaOptions, LearningRate};

/// Learning rates of the groups after the warm-up, 0 to 10; 0 leaves a group as it is.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Rates {
    pub unet: f64,
    pub text_encoder: f64,
    pub embedding: f64,
}

impl Rates {
    /// One rate for all.
    pub fn all(rate: f64) -> Self {
        Self { unet: rate, text_encoder: rate, embedding: rate }
    }

    /// The rate of a group.
    pub fn of(&self, group: Group) -> f64 {
        match group {
            Group::Unet => self.unet,
            Group::TextEncoder => self.text_encoder,
            Group::Embedding => self.embedding,
        }
    }
}

/// Where and how often the state of a run is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CheckpointOptions {
    pub folder: PathBuf,
    /// Steps between two; the last step and a run that is ended leave one too.
    pub every: u64,
    /// How many stay, at least 1.
    pub keep: usize,
}

/// All that the loop is told.
#[derive(Debug, Clone, PartialEq)]
pub struct RunOptions {
    /// Optimiser steps.
    pub steps: u64,
    /// Batches whose gradients make one step, at least 1.
    pub accumulation: u32,
    /// Largest norm of all gradients together; `None` clips nothing.
    pub clip_norm: Option<f64>,
    pub algorithm: Algorithm,
    pub rates: Rates,
    pub decay: Decay,
    /// Steps that lead up to the full rate.
    pub warmup: u64,
    pub ema: Option<EmaOptions>,
    /// The share of the steps in which text encoders are trained, 0 to 1.
    pub text_encoder_share: f64,
    pub checkpoints: Option<CheckpointOptions>,
    /// Steps between two calls of [`Watcher::sample`](super::Watcher::sample).
    pub sample_every: Option<u64>,
    /// What the run learns from, by what method, from which base: a run goes on only with the same.
    pub identity: String,
}

impl Default for RunOptions {
    fn default() -> Self {
        Self {
            steps: 1000,
            accumulation: 1,
            clip_norm: Some(1.0),
            algorithm: Algorithm::default(),
            rates: Rates::all(1e-4),
            decay: Decay::default(),
            warmup: 0,
            ema: None,
            text_encoder_share: 1.0,
            checkpoints: None,
            sample_every: None,
            identity: String::new(),
        }
    }
}

impl RunOptions {
    /// Checks the numbers.
    ///
    /// # Errors
    /// One is out of its limits.
    pub fn check(&self) -> Result<(), RunError> {
        let refuse = |option, value: String, allowed| Err(RunError::Option { option, value, allowed });
        if !(1..=10_000_000).contains(&self.steps) {
            return refuse("steps", self.steps.to_string(), "it is a number from 1 to 10000000");
        }
        if !(1..=1024).contains(&self.accumulation) {
            return refuse("accumulation", self.accumulation.to_string(), "it is a number from 1 to 1024");
        }
        for rate in [self.rates.unet, self.rates.text_encoder, self.rates.embedding] {
            if !(0.0..=10.0).contains(&rate) {
                return refuse("learning rate", rate.to_string(), "it is a number from 0 to 10");
            }
        }
        if self.clip_norm.is_some_and(|norm| !(norm > 0.0 && norm.is_finite())) {
            let value = self.clip_norm.unwrap_or_default().to_string();
            return refuse("clip norm", value, "it is a number above 0; leave it out to clip nothing");
        }
        if !(0.0..=1.0).contains(&self.text_encoder_share) {
            let value = self.text_encoder_share.to_string();
            return refuse("text encoder share", value, "it is a share from 0 to 1");
        }
        if self.warmup >= self.steps && self.warmup > 0 {
            return refuse("warm-up", self.warmup.to_string(), "it is less than the number of steps");
        }
        if self.sample_every == Some(0) {
            return refuse("sample every", "0".to_owned(), "it is a number of steps from 1");
        }
        if self.checkpoints.as_ref().is_some_and(|c| c.every == 0 || c.keep == 0) {
            return refuse(
                "checkpoints",
                "0".to_owned(),
                "steps between them, and how many stay, are from 1",
            );
        }
        Ok(())
    }

    /// The rate over the steps.
    pub(super) fn schedule(&self) -> LearningRate {
        LearningRate { decay: self.decay, warmup: self.warmup, total: self.steps }
    }

    /// The first step, from 0, in which text encoders stay as they are.
    pub(super) fn text_encoder_steps(&self) -> u64 {
        (self.steps as f64 * self.text_encoder_share).ceil() as u64
    }

    /// What decides the numbers of a step. Its length does where a rate depends on it: a run with a constant
    /// rate may be made longer afterwards.
    pub(super) fn digest(&self) -> String {
        let length_counts = self.decay != Decay::Constant || self.text_encoder_share < 1.0;
        let Self {
            accumulation, clip_norm, algorithm, rates, decay, warmup, ema, text_encoder_share, ..
        } = self;
        let steps = length_counts.then_some(self.steps);
        let text = format!(
            "{:?}",
            (accumulation, clip_norm, algorithm, rates, decay, warmup, ema, text_encoder_share, steps)
        );
        crate::train::data::digest_of(&[&text, &self.identity])
    }
}
