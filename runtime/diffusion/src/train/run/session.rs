//! Step after step.

use std::ops::ControlFlow;

use super::checkpoint::Snapshot;
use super::error::RunError;
use super::folder::Checkpoints;
use super::learner::{Learner, Progress, Source, Watcher};
use super::options::RunOptions;
use super::weights::{elements, failed, read, write};
use crate::train::Group;
use crate::train::optim::{Optimizer, clip_factor, global_norm};

/// How a run ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// All steps are done; the variables hold their averages if the run kept any.
    Finished,
    /// The watcher ended it after this many steps.
    Stopped { step: u64 },
}

/// Trains, from the newest checkpoint if there is one.
///
/// A run that goes on from a checkpoint computes the same numbers as one that was never interrupted, bit for
/// bit: a batch is a function of its number, and the checkpoint holds everything else.
///
/// # Errors
/// A setting, the data or a checkpoint cannot be used, the disk fails, or the training diverges.
pub fn run<L: Learner, S: Source<Batch = L::Batch>>(
    learner: &L,
    source: &mut S,
    options: &RunOptions,
    watcher: &mut dyn Watcher<L>,
) -> Result<Outcome, RunError> {
    options.check()?;
    let mut session = Session::begin(learner, options)?;
    if session.step > 0 {
        watcher.resumed(session.step);
    }
    while session.step < options.steps {
        let progress = session.advance(source)?;
        let stop = watcher.progress(&progress) == ControlFlow::Break(()) && session.step < options.steps;
        session.save_if_due(stop, watcher)?;
        if stop {
            return Ok(Outcome::Stopped { step: session.step });
        }
        if options.sample_every.is_some_and(|every| session.step.is_multiple_of(every)) {
            session.with_averages(|step, learner| watcher.sample(step, learner))?;
        }
    }
    session.leave_averages()?;
    Ok(Outcome::Finished)
}

struct Session<'l, L> {
    learner: &'l L,
    options: &'l RunOptions,
    optimizer: Optimizer,
    /// Empty without averages.
    averages: Vec<Vec<f32>>,
    checkpoints: Option<Checkpoints>,
    digest: String,
    /// Finished steps.
    step: u64,
}

impl<'l, L: Learner> Session<'l, L> {
    fn begin(learner: &'l L, options: &'l RunOptions) -> Result<Self, RunError> {
        let variables = learner.variables();
        let optimizer = Optimizer::new(options.algorithm, variables.iter().map(|v| v.var.dims()));
        let folder = options.checkpoints.as_ref().map(|c| Checkpoints::open(&c.folder)).transpose()?;
        let digest = options.digest();
        let mut session =
            Self { learner, options, optimizer, averages: Vec::new(), checkpoints: folder, digest, step: 0 };
        if options.ema.is_some() {
            session.averages = variables.iter().map(read).collect::<Result<_, _>>()?;
        }
        session.restore()?;
        Ok(session)
    }

    fn restore(&mut self) -> Result<(), RunError> {
        let Some(checkpoints) = &self.checkpoints else { return Ok(()) };
        let mut snapshot = self.snapshot()?;
        if let Some(step) = checkpoints.restore(&self.digest, self.options.steps, &mut snapshot)? {
            for (variable, values) in self.learner.variables().iter().zip(snapshot.values) {
                write(variable, values)?;
            }
            self.optimizer.states_mut().clone_from_slice(&snapshot.states);
            self.averages = snapshot.averages;
            self.step = step;
        }
        Ok(())
    }

    fn snapshot(&self) -> Result<Snapshot, RunError> {
        let variables = self.learner.variables();
        Ok(Snapshot {
            names: variables.iter().map(|v| v.name.clone()).collect(),
            values: variables.iter().map(read).collect::<Result<_, _>>()?,
            states: self.optimizer.states().to_vec(),
            averages: self.averages.clone(),
        })
    }

    /// One step of the optimiser.
    fn advance<S: Source<Batch = L::Batch>>(&mut self, source: &mut S) -> Result<Progress, RunError> {
        let schedule = self.options.schedule();
        let learning_rate = schedule.at(self.step, self.options.rates.unet);
        let (loss, mut gradients) = self.accumulate(source, learning_rate)?;
        let norm = global_norm(gradients.iter().map(Vec::as_slice));
        if !norm.is_finite() {
            return Err(RunError::GradientNotFinite { step: self.step + 1, norm, loss, learning_rate });
        }
        if let Some(limit) = self.options.clip_norm {
            let factor = clip_factor(norm, limit);
            gradients.iter_mut().flatten().for_each(|g| *g *= factor);
        }
        let texts_rest = self.step >= self.options.text_encoder_steps();
        for (i, (variable, gradient)) in self.learner.variables().iter().zip(&gradients).enumerate() {
            let rate = self.options.rates.of(variable.group);
            if rate == 0.0 || (variable.group == Group::TextEncoder && texts_rest) {
                continue;
            }
            let mut values = read(variable)?;
            let rate = schedule.at(self.step, rate);
            self.optimizer.update(i, self.step + 1, rate, &mut values, gradient);
            if let (Some(ema), Some(average)) = (&self.options.ema, self.averages.get_mut(i)) {
                ema.update(self.step + 1, average, &values);
            }
            write(variable, values)?;
        }
        self.step += 1;
        let (step, total) = (self.step, self.options.steps);
        Ok(Progress { step, total, loss, learning_rate, gradient_norm: norm })
    }

    /// Mean loss and mean gradients of the batches of this step.
    fn accumulate<S: Source<Batch = L::Batch>>(
        &self,
        source: &mut S,
        learning_rate: f64,
    ) -> Result<(f32, Vec<Vec<f32>>), RunError> {
        let variables = self.learner.variables();
        let count = self.options.accumulation;
        let mut total = 0.0_f32;
        let mut sums: Vec<Vec<f32>> = Vec::new();
        for part in 0..u64::from(count) {
            let batch = source.batch(self.step * u64::from(count) + part)?;
            let (loss, gradients) = self.learner.gradients(&batch)?;
            if !loss.is_finite() {
                return Err(RunError::LossNotFinite { step: self.step + 1, loss, learning_rate });
            }
            if gradients.len() != variables.len() {
                let (count, variables) = (gradients.len(), variables.len());
                return Err(RunError::GradientCount { count, variables });
            }
            total += loss;
            for (i, (variable, gradient)) in variables.iter().zip(&gradients).enumerate() {
                let gradient = elements(gradient).map_err(|source| failed(variable, source))?;
                match sums.get_mut(i) {
                    Some(sum) => sum.iter_mut().zip(&gradient).for_each(|(sum, g)| *sum += g),
                    None => sums.push(gradient),
                }
            }
        }
        if count > 1 {
            let share = 1.0 / count as f32;
            sums.iter_mut().flatten().for_each(|g| *g *= share);
        }
        Ok((total / count as f32, sums))
    }

    fn save_if_due(&self, stop: bool, watcher: &mut dyn Watcher<L>) -> Result<(), RunError> {
        let (Some(checkpoints), Some(options)) = (&self.checkpoints, &self.options.checkpoints) else {
            return Ok(());
        };
        let last = self.step == self.options.steps;
        if stop || last || self.step.is_multiple_of(options.every) {
            let path = checkpoints.save(self.step, &self.digest, &self.snapshot()?, options.keep)?;
            watcher.saved(self.step, &path);
        }
        Ok(())
    }

    /// Calls `work` while the variables hold their averages.
    fn with_averages(&self, work: impl FnOnce(u64, &L) -> Result<(), RunError>) -> Result<(), RunError> {
        let variables = self.learner.variables();
        let own: Vec<Vec<f32>> = match self.averages.is_empty() {
            true => Vec::new(),
            false => variables.iter().map(read).collect::<Result<_, _>>()?,
        };
        self.leave_averages()?;
        let result = work(self.step, self.learner);
        for (variable, values) in variables.iter().zip(own) {
            write(variable, values)?;
        }
        result
    }

    fn leave_averages(&self) -> Result<(), RunError> {
        for (variable, average) in self.learner.variables().iter().zip(&self.averages) {
            write(variable, average.clone())?;
        }
        Ok(())
    }
}
