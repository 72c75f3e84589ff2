//! What the run tells, in its own thread: written down, passed on, and answered with when to stop.

use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use easel_diffusion::train::run::Progress;
use easel_protocol::training::TrainStage;

use super::checkpoints::Checkpoints;
use super::error::TrainerError;
use super::losses::Losses;
use super::memory::check_variables;
use super::meter::Meter;
use super::samples::Samples;
use crate::train::{Event, Listener, Pace, TrainPlan};
use crate::worker::Shutdown;

/// The share of the old mean in a smoothed loss: about the last twenty steps count.
const KEPT: f64 = 0.95;

/// Hears of a run.
pub(super) struct Teller {
    plan: TrainPlan,
    meter: Arc<Meter>,
    checkpoints: Arc<Checkpoints>,
    samples: Arc<Samples>,
    shutdown: Shutdown,
    losses: Losses,
    /// When the last thing ended.
    last: Instant,
    smoothed: Option<f64>,
    batches_per_epoch: u64,
    failure: Option<TrainerError>,
}

impl Teller {
    pub(super) fn new(
        plan: TrainPlan,
        meter: Arc<Meter>,
        checkpoints: Arc<Checkpoints>,
        samples: Arc<Samples>,
        shutdown: Shutdown,
        losses: Losses,
    ) -> Self {
        Self {
            plan,
            meter,
            checkpoints,
            samples,
            shutdown,
            losses,
            last: Instant::now(),
            smoothed: None,
            batches_per_epoch: 1,
            failure: None,
        }
    }

    /// Why it said stop, if something failed.
    pub(super) fn failure(self) -> Option<TrainerError> {
        self.failure
    }

    fn step(&mut self, progress: &Progress, pace: Option<Pace>) {
        let took = self.last.elapsed().as_millis();
        let Progress { step, total, loss, learning_rate, .. } = *progress;
        let written = self.losses.add(step, loss, learning_rate, took);
        self.note_disk(written);
        let loss = f64::from(loss);
        let smoothed = self.smoothed.map_or(loss, |mean| mean * KEPT + loss * (1.0 - KEPT));
        self.smoothed = Some(smoothed);
        let shown = step.saturating_mul(u64::from(self.plan.run.accumulation));
        let epoch = shown.saturating_sub(1) / self.batches_per_epoch.max(1) + 1;
        self.meter.stage(TrainStage::Training, step, total);
        self.meter.update(|told| {
            (told.step, told.total_steps) = (step, total);
            told.epoch = u32::try_from(epoch).unwrap_or(u32::MAX);
            told.loss = Some(smoothed);
            if let Some(Pace { steps_per_second, remaining }) = pace {
                told.milli_seconds_per_step = Some((1000.0 / steps_per_second) as u64);
                told.eta_seconds = Some(remaining.as_secs());
            }
        });
    }

    fn checkpoint(&mut self, step: u64, tensors: &Path) {
        let added = self.checkpoints.add(step, tensors, &self.losses);
        self.note_disk(added);
    }

    fn resumed(&mut self, step: u64) {
        tracing::info!(step, "the training goes on after a checkpoint");
        let cut = self.losses.cut_after(step);
        self.note_disk(cut);
        self.meter.update(|told| told.step = step);
    }

    fn loaded(&mut self, variables: u64) {
        tracing::info!(variables, "the base is loaded");
        if let Err(error) = check_variables(&self.plan, variables) {
            self.failure.get_or_insert(error);
        }
    }

    fn note_disk(&mut self, result: std::io::Result<()>) {
        if let Err(source) = result {
            let path = self.losses.path().to_owned();
            self.failure.get_or_insert(TrainerError::WorkDirectory { path, source });
        }
    }
}

impl Listener for Teller {
    fn hear(&mut self, event: Event<'_>) -> ControlFlow<()> {
        let stage = |stage, done: usize, total: usize| self.meter.stage(stage, done as u64, total as u64);
        match event {
            Event::ClassPictures { done, total } => stage(TrainStage::ClassPictures, done, total),
            Event::Encoded { done, total } => stage(TrainStage::Encoding, done, total),
            Event::Loaded { variables } => self.loaded(variables),
            Event::Dataset { pictures, batches_per_epoch, duplicates } => {
                self.batches_per_epoch = batches_per_epoch as u64;
                let duplicates = duplicates.len();
                tracing::info!(pictures, batches_per_epoch, duplicates, "the pictures are read");
            }
            Event::Resumed { step } => self.resumed(step),
            Event::Step { progress, pace } => self.step(progress, pace),
            Event::Checkpoint { step, path } => self.checkpoint(step, path),
            Event::Samples { step, paths } => self.samples.add(step, paths),
        }
        self.last = Instant::now();
        if self.failure.is_some() || self.checkpoints.refused() || self.shutdown.draining() {
            ControlFlow::Break(())
        } else {
            ControlFlow::Continue(())
        }
    }
}
