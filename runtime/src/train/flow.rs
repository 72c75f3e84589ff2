//! The whole way: class pictures, data, steps, file.

use std::ops::ControlFlow;
use std::path::Path;
use std::time::Instant;

use easel_diffusion::train::Trainee;
use easel_diffusion::train::data::{Dataset, LatentCache, digest_of};
use easel_diffusion::train::run::{Batches, Outcome, Progress, RunError, RunOptions, Watcher, run};

use super::error::TrainFailure;
use super::event::{Event, Listener};
use super::plan::{ClassPictures, SamplePlan, TrainPlan};
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
    if plan.epochs.is_none() {
        plan.run.check()?;
    }
    for folder in [plan.samples.as_ref().map(|s| &s.folder), plan.latents.as_ref()].into_iter().flatten() {
        std::fs::create_dir_all(folder)
            .map_err(|source| TrainFailure::Write { path: folder.clone(), source })?;
    }
    let mut concepts = plan.concepts.clone();
    concepts.extend(class::ensure(plan, listener)?);
    let dataset = Dataset::open(&concepts, plan.dataset.clone())?;
    let steps =
        plan.epochs.map_or(plan.run.steps, |epochs| steps_of(epochs, &dataset, plan.run.accumulation));
    RunOptions { steps, ..plan.run.clone() }.check()?;
    let read = Event::Dataset {
        pictures: dataset.items().len(),
        batches_per_epoch: dataset.batches_per_epoch(),
        duplicates: dataset.duplicates(),
    };
    if listener.hear(read).is_break() {
        return Err(TrainFailure::Stopped);
    }
    let base = base::digest(&plan.base)?;
    let trainee =
        Trainee::with_objective(&plan.base, &plan.method, plan.objective.clone(), plan.batches.seed)?
            .checkpointing(plan.checkpointing);
    let variables = trainee.variables().iter().map(|v| v.var.elem_count() as u64).sum();
    if listener.hear(Event::Loaded { variables }).is_break() {
        return Err(TrainFailure::Stopped);
    }

    let cache = LatentCache::new(base.as_str(), plan.latents.clone())?;
    let mut batches = Batches::new(&trainee, &dataset, cache, plan.batches)?;
    let mut stopped = false;
    batches.prepare(|done, total| stopped |= listener.hear(Event::Encoded { done, total }).is_break())?;
    if stopped {
        return Err(TrainFailure::Stopped);
    }
    let identity = digest_of(&[
        &base,
        &learnt_from(plan, &dataset),
        &format!("{:?} {:?} {:?}", plan.method, plan.objective, plan.batches),
    ]);
    let options = RunOptions { identity, steps, ..plan.run.clone() };
    let mut watch = Watch {
        listener,
        samples: plan.samples.as_ref(),
        speed: Speed::default(),
        stopped: false,
        loss: None,
    };
    let outcome = run(&trainee, &mut batches, &options, &mut watch)?;
    let loss = watch.loss;
    if outcome == Outcome::Finished {
        trainee.save(&plan.out, &metadata::of(plan, steps, &dataset, &base), plan.precision)?;
    }
    Ok(Trained { outcome, loss })
}

/// Steps of the optimiser in so many rounds over all pictures; the last one may begin another round.
fn steps_of(epochs: u32, dataset: &Dataset, accumulation: u32) -> u64 {
    let batches = u64::from(epochs).saturating_mul(dataset.batches_per_epoch() as u64);
    batches.div_ceil(u64::from(accumulation).max(1))
}

/// As [`Dataset::digest`], with pictures that are drawn here by what they are drawn from: another machine may draw
/// them with another last bit, and a run that goes on there is still the same run.
fn learnt_from(plan: &TrainPlan, dataset: &Dataset) -> String {
    let mut parts = vec![format!("{:?}", dataset.options())];
    for item in dataset.items() {
        let shown = (&item.caption, item.repeats, item.role);
        parts.push(match class::drawn(plan, &item.path) {
            Some((number, index)) => {
                let ClassPictures { prompt, negative_prompt, steps, guidance_scale, .. } =
                    &plan.classes[number];
                format!("{:?}", (prompt, negative_prompt, steps, guidance_scale, number, index, shown))
            }
            None => format!("{:?}", (item.sha256, shown)),
        });
    }
    digest_of(&parts.iter().map(String::as_str).collect::<Vec<_>>())
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
