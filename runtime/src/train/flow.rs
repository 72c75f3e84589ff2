//! The whole way: class pictures, data, steps, file.

use std::ops::ControlFlow;
use std::path::Path;
use std::time::Instant;

use easel_diffusion::train::Trainee;
use easel_diffusion::train::data::{Dataset, LatentCache, digest_of};
use easel_diffusion::train::run::{Batches, Outcome, Progress, RunError, RunOptions, Watcher, run};

use super::error::TrainFailure;
use super::event::{Event, Listener};
use super::plan::{SamplePlan, TrainPlan};
use super::speed::Speed;
use super::{base, class, metadata, samples};

/// What came out.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Trained {
    pub outcome: Outcome,
    /// Of the last step that was done here; `None` if all steps were done before.
    pub loss: Option<f32>,
}

/// Trains and writes [`TrainPlan::out`], unless the listener ends it before: then the same plan goes on from
/// the last checkpoint.
///
/// # Errors
/// A setting, picture or checkpoint cannot be used, the disk fails, or the training diverges.
pub fn train(plan: &TrainPlan, listener: &mut dyn Listener) -> Result<Trained, TrainFailure> {
    plan.run.check()?;
    for folder in [plan.samples.as_ref().map(|s| &s.folder), plan.latents.as_ref()].into_iter().flatten() {
        std::fs::create_dir_all(folder)
            .map_err(|source| TrainFailure::Write { path: folder.clone(), source })?;
    }
    let mut concepts = plan.concepts.clone();
    concepts.extend(class::ensure(plan, listener)?);
    let dataset = Dataset::open(&concepts, plan.dataset.clone())?;
    // What it says can be too late to stop for: the loop asks again after its first step.
    let _ = listener.hear(Event::Dataset {
        pictures: dataset.items().len(),
        batches_per_epoch: dataset.batches_per_epoch(),
        duplicates: dataset.duplicates(),
    });
    let base = base::digest(&plan.base)?;
    let trainee =
        Trainee::with_objective(&plan.base, &plan.method, plan.objective.clone(), plan.batches.seed)?
            .checkpointing(plan.checkpointing);
    let variables = trainee.variables().iter().map(|v| v.var.elem_count() as u64).sum();
    let _ = listener.hear(Event::Loaded { variables });

    let cache = LatentCache::new(base.as_str(), plan.latents.clone())?;
    let mut batches = Batches::new(&trainee, &dataset, cache, plan.batches)?;
    let mut stopped = false;
    batches.prepare(|done, total| stopped |= listener.hear(Event::Encoded { done, total }).is_break())?;
    let identity = digest_of(&[
        &base,
        &dataset.digest(),
        &format!("{:?} {:?} {:?}", plan.method, plan.objective, plan.batches),
    ]);
    let options = RunOptions { identity, ..plan.run.clone() };
    let mut watch =
        Watch { listener, samples: plan.samples.as_ref(), speed: Speed::default(), stopped, loss: None };
    let outcome = run(&trainee, &mut batches, &options, &mut watch)?;
    let loss = watch.loss;
    if outcome == Outcome::Finished {
        trainee.save(&plan.out, &metadata::of(plan, &dataset, &base), plan.precision)?;
    }
    Ok(Trained { outcome, loss })
}

/// Passes on what the loop tells.
struct Watch<'a> {
    listener: &'a mut dyn Listener,
    samples: Option<&'a SamplePlan>,
    speed: Speed,
    stopped: bool,
    loss: Option<f32>,
}

impl Watcher<Trainee> for Watch<'_> {
    fn progress(&mut self, progress: &Progress) -> ControlFlow<()> {
        let pace = self.speed.step(Instant::now(), progress.total - progress.step);
        self.loss = Some(progress.loss);
        self.stopped |= self.listener.hear(Event::Step { progress, pace }).is_break();
        if self.stopped { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    }

    fn resumed(&mut self, step: u64) {
        self.stopped |= self.listener.hear(Event::Resumed { step }).is_break();
    }

    fn saved(&mut self, step: u64, path: &Path) {
        self.speed.pause();
        self.stopped |= self.listener.hear(Event::Checkpoint { step, path }).is_break();
    }

    fn sample(&mut self, step: u64, trainee: &Trainee) -> Result<(), RunError> {
        let Some(plan) = self.samples else { return Ok(()) };
        let paths = samples::draw(plan, step, trainee).map_err(|detail| RunError::Sample { step, detail })?;
        self.speed.pause();
        self.stopped |= self.listener.hear(Event::Samples { step, paths: &paths }).is_break();
        Ok(())
    }
}
