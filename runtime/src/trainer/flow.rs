//! A training from claim to result.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use easel_diffusion::train::run::Outcome;
use easel_protocol::training::{TrainPrecision, TrainStage, TrainTask, TrainedFile};

use super::base::fetch_base;
use super::checkpoints::Checkpoints;
use super::config::TrainerConfig;
use super::error::TrainerError;
use super::folder::{fresh, remove_file};
use super::listener::Teller;
use super::losses::{LOSSES, Losses};
use super::meter::{self, Meter};
use super::pictures::{LocalDataset, fetch_dataset, with_names};
use super::resume::fetch_state;
use super::samples::Samples;
use super::settings::{Places, datasets, plan};
use super::storing::store_result;
use crate::cache::CachedModel;
use crate::dataset::Pictures;
use crate::facade::{CallError, Facade};
use crate::import::Patience;
use crate::net::plain_client;
use crate::train::{TrainFailure, TrainPlan, Trained, train};
use crate::worker::Shutdown;

/// The facade may not have seen the TrainingJob yet that this Job was made for, or it restarts.
const CLAIM_PATIENCE: Patience = Patience(Duration::from_secs(120));

/// How a training ended that did not fail.
#[derive(Debug, Clone, PartialEq)]
pub enum Ended {
    Trained(TrainedFile),
    /// Told to stop. What was done up to this step is stored.
    Interrupted {
        step: u64,
    },
}

/// Runs one training to its end, or until `shutdown`: then the running step ends, its state is stored, and all of it
/// ends at the latest when the shutdown's grace does.
///
/// # Errors
/// See [`TrainerError::report`].
pub async fn run_training(config: &TrainerConfig, shutdown: &Shutdown) -> Result<Ended, TrainerError> {
    let http = plain_client().map_err(|source| TrainerError::Client { source })?;
    let facade = config.facade.facade(&http);
    let task = tokio::select! {
        claimed = claim(&facade) => claimed?,
        () = shutdown.drained() => return Ok(Ended::Interrupted { step: 0 }),
    };
    let begin = task.resume.as_ref().map_or(0, |state| state.step);
    tracing::info!(job = task.job, base = task.base_model, step = begin, "training begins");
    if matches!(task.hyperparameters.precision, Some(TrainPrecision::F16 | TrainPrecision::Bf16)) {
        tracing::info!("on CPUs this engine computes in F32, whatever the precision");
    }
    let run = Run {
        config,
        shutdown,
        http,
        facade,
        task,
        meter: Arc::default(),
        checkpoints: Arc::new(Checkpoints::new(config.work_dir.join("uploads"), begin)),
        samples: Arc::default(),
    };
    let ended = tokio::select! {
        ended = run.whole() => ended,
        never = meter::report(&run.facade, &run.meter) => match never {},
        () = shutdown.ended() => Ok(Ended::Interrupted { step: run.checkpoints.completed() }),
    };
    tokio::select! {
        () = meter::last_word(&run.facade, &run.meter) => {}
        () = shutdown.ended() => {}
    }
    ended
}

async fn claim(facade: &Facade) -> Result<TrainTask, TrainerError> {
    let not_yet = |error: &CallError| match error {
        CallError::Refused { .. } => true,
        CallError::Rejected { status, .. } => matches!(status.as_u16(), 403 | 404 | 409),
        other => other.retriable(),
    };
    let claimed = CLAIM_PATIENCE.repeat(|| facade.claim_training(), not_yet).await;
    claimed.map_err(|source| match source {
        CallError::Refused { .. } => TrainerError::NothingToTrain { source },
        CallError::Rejected { status, .. } if status.as_u16() == 409 => {
            TrainerError::NothingToTrain { source }
        }
        source => TrainerError::Facade { source },
    })
}

/// What is in the working directory.
struct Fetched {
    /// Held, so that nobody removes it from the cache.
    base: CachedModel,
    datasets: BTreeMap<String, LocalDataset>,
}

struct Run<'a> {
    config: &'a TrainerConfig,
    shutdown: &'a Shutdown,
    http: reqwest::Client,
    facade: Facade,
    task: TrainTask,
    meter: Arc<Meter>,
    checkpoints: Arc<Checkpoints>,
    samples: Arc<Samples>,
}

impl Run<'_> {
    async fn whole(&self) -> Result<Ended, TrainerError> {
        let fetched = tokio::select! {
            fetched = self.fetch() => fetched?,
            () = self.shutdown.drained() => {
                return Ok(Ended::Interrupted { step: self.checkpoints.completed() });
            }
        };
        let trained = async {
            let trained = self.train(&fetched).await;
            self.checkpoints.close();
            self.samples.close();
            match trained? {
                (Trained { outcome: Outcome::Finished, loss }, plan) => {
                    self.store(&plan, loss).await.map(Some)
                }
                (Trained { outcome: Outcome::Stopped { .. }, .. }, _) => Ok(None),
            }
        };
        let (trained, checkpoints, ()) = tokio::join!(
            trained,
            self.checkpoints.run(&self.facade, &self.http),
            self.samples.run(&self.facade, &self.http),
        );
        match (trained?, checkpoints) {
            (Some(file), Ok(())) => Ok(Ended::Trained(file)),
            (Some(file), Err(error)) => {
                tracing::warn!(error = %crate::error::chain(&error), "the last checkpoint is not stored");
                Ok(Ended::Trained(file))
            }
            (None, Err(error)) => Err(error),
            (None, Ok(())) => Ok(Ended::Interrupted { step: self.checkpoints.completed() }),
        }
    }

    async fn fetch(&self) -> Result<Fetched, TrainerError> {
        let work = &self.config.work_dir;
        // What an earlier process left there is older than what the facade knows, or not known to be whole.
        for folder in ["checkpoints", "uploads", "samples"] {
            fresh(&work.join(folder))?;
        }
        remove_file(&work.join(LOSSES))?;
        self.meter.stage(TrainStage::Downloading, 0, 0);
        let base = fetch_base(self.config, &self.http, &self.task, &self.meter).await?;
        let mut local = BTreeMap::new();
        for (number, name) in datasets(&self.task).into_iter().enumerate() {
            let folder = work.join(format!("dataset-{number}"));
            let pictures =
                Pictures { facade: &self.facade, http: &self.http, dataset: name, folder: &folder };
            local.insert(name.to_owned(), fetch_dataset(&pictures, &self.meter).await?);
        }
        if let Some(state) = &self.task.resume {
            fetch_state(&self.http, state, &work.join("checkpoints"), &work.join(LOSSES)).await?;
        }
        Ok(Fetched { base, datasets: local })
    }

    /// Trains in a thread of its own.
    async fn train(&self, fetched: &Fetched) -> Result<(Trained, TrainPlan), TrainerError> {
        let work = &self.config.work_dir;
        let plan =
            plan(&self.task, &Places { base: fetched.base.path(), datasets: &fetched.datasets, work })?;
        let path = work.join(LOSSES);
        let losses = Losses::open(&path).map_err(|source| TrainerError::WorkDirectory { path, source })?;
        let (meter, checkpoints, samples) =
            (Arc::clone(&self.meter), Arc::clone(&self.checkpoints), Arc::clone(&self.samples));
        let shutdown = self.shutdown.clone();
        let running = tokio::task::spawn_blocking(move || {
            let mut teller = Teller::new(plan.clone(), meter, checkpoints, samples, shutdown, losses);
            let result = train(&plan, &mut teller);
            (plan, result, teller.failure())
        });
        let (plan, result, failure) = running.await.map_err(|source| TrainerError::Panicked { source })?;
        if let Some(failure) = failure {
            return Err(failure);
        }
        match result {
            Ok(trained) => Ok((trained, plan)),
            // Before the first step there is nothing to store.
            Err(TrainFailure::Stopped) => {
                let outcome = Outcome::Stopped { step: self.checkpoints.completed() };
                Ok((Trained { outcome, loss: None }, plan))
            }
            Err(failure) => Err(with_names(failure, &fetched.datasets)),
        }
    }

    async fn store(&self, plan: &TrainPlan, loss: Option<f32>) -> Result<TrainedFile, TrainerError> {
        let name = &self.task.output.file_name;
        let file = store_result(&self.facade, &self.http, name, &plan.out, &self.meter).await?;
        let told = self.meter.read();
        Ok(TrainedFile { file, steps: told.total_steps.max(told.step), loss: loss.map(f64::from) })
    }
}
