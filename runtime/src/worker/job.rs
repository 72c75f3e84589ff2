//! One claimed job, from the claim to the call that says how it ended.

use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::{Duration, Instant};

use easel_diffusion::Picture;
use easel_protocol::FailureReport;
use easel_protocol::worker::{ClaimedJob, Completion, JobFailure, Release, Timings};
use tokio::time::{sleep, timeout};

use super::lease::{LeaseKeeper, ProgressCell};
use super::metrics::Metrics;
use super::outputs;
use super::shutdown::Shutdown;
use super::stop::{Stop, StopSignal};
use crate::backoff::Backoff;
use crate::engine::{EngineError, LoadStage, LoadedModel, ModelPool, NamedNetwork};
use crate::error::chain;
use crate::facade::{CallError, Facade};

/// What a job needs of the process.
pub(super) struct Worker {
    pub(super) facade: Facade,
    pub(super) http: reqwest::Client,
    pub(super) pool: Arc<ModelPool>,
    pub(super) metrics: Arc<Metrics>,
    pub(super) shutdown: Shutdown,
    /// How long the engine may take to stop after it was told to. A step on a slow CPU takes a minute; an engine
    /// that takes ten is not coming back.
    pub(super) stop_patience: Duration,
}

/// The engine hangs; only the end of the process frees its thread.
#[derive(Debug)]
pub(super) struct EngineStuck;

/// How the work on a job ended, before anybody was told.
enum Ended {
    Done(Completion),
    Stopped(Stop),
    Failed(FailureReport),
    Stuck,
}

impl Worker {
    /// Works on `job` and reports how it ended. The job counts as dropped when the lease is lost: its next holder
    /// reports it.
    pub(super) async fn run(
        &self,
        job: ClaimedJob,
        claimed_at: tokio::time::Instant,
    ) -> Result<(), EngineStuck> {
        let (progress, stop) = (Arc::new(ProgressCell::default()), Arc::new(StopSignal::default()));
        let keeper = LeaseKeeper {
            facade: &self.facade,
            metrics: &self.metrics,
            shutdown: &self.shutdown,
            job: &job,
            claimed_at,
            progress: &progress,
            stop: &stop,
        };
        let started = Instant::now();
        let work = async {
            let ended = self.work(&job, &progress, &stop).await;
            let stuck = matches!(ended, Ended::Stuck);
            let outcome = self.report(&job, ended, &stop).await;
            self.metrics.job(outcome);
            tracing::info!(
                job.id = job.id,
                attempt = job.attempt,
                outcome,
                duration_ms = millis(started.elapsed()),
                "job ended"
            );
            if stuck { Err(EngineStuck) } else { Ok(()) }
        };
        tokio::pin!(work);
        tokio::select! {
            result = &mut work => result,
            () = keeper.keep() => work.await,
        }
    }

    async fn work(&self, job: &ClaimedJob, progress: &Arc<ProgressCell>, stop: &Arc<StopSignal>) -> Ended {
        let mut timings = Timings::default();
        let mut on_stage = |stage| match stage {
            LoadStage::Downloading(p) => progress.set("Downloading", p.received, p.total.unwrap_or(0)),
            LoadStage::Loading => progress.set("Loading", 0, 0),
        };
        let loaded = tokio::select! {
            loaded = self.pool.get(&job.checkpoint, &mut on_stage) => loaded,
            stop = stop.wait() => return Ended::Stopped(stop),
        };
        let loaded = match loaded {
            Ok(loaded) => loaded,
            Err(error) => return Ended::Failed(error.report()),
        };
        let began = Instant::now();
        let networks = tokio::select! {
            networks = self.pool.networks(&job.networks, &mut on_stage) => networks,
            stop = stop.wait() => return Ended::Stopped(stop),
        };
        let networks = match networks {
            Ok(networks) => networks,
            Err(error) => return Ended::Failed(error.report()),
        };
        timings.load_ms = millis(loaded.took + began.elapsed());

        let began = Instant::now();
        let generated = self.generate(job, loaded.model, networks, progress, stop).await;
        self.pool.settle();
        let pictures = match generated {
            Ok(pictures) => pictures,
            Err(ended) => return ended,
        };
        timings.generate_ms = millis(began.elapsed());
        self.metrics.stage("generate", began.elapsed());

        let began = Instant::now();
        let infotexts = pictures.iter().map(|picture| picture.infotext.clone()).collect();
        let total = job.outputs.len() as u64;
        progress.set("Uploading", 0, total);
        let storing = outputs::store_all(&self.http, Arc::new(pictures), &job.outputs, |stored| {
            progress.set("Uploading", stored, total);
        });
        let stored = tokio::select! {
            stored = storing => stored,
            stop = stop.wait() => return Ended::Stopped(stop),
        };
        timings.upload_ms = millis(began.elapsed());
        self.metrics.stage("upload", began.elapsed());
        match stored {
            Ok(outputs) => Ended::Done(Completion { attempt: job.attempt, outputs, infotexts, timings }),
            Err(error) => Ended::Failed(error.report()),
        }
    }

    /// Runs the engine on a thread of its own.
    async fn generate(
        &self,
        job: &ClaimedJob,
        model: Arc<dyn LoadedModel>,
        networks: Vec<NamedNetwork>,
        progress: &Arc<ProgressCell>,
        stop: &Arc<StopSignal>,
    ) -> Result<Vec<Picture>, Ended> {
        let (request, metrics) = (job.request.clone(), self.metrics.clone());
        let (progress, signal) = (progress.clone(), stop.clone());
        let mut rendering = tokio::task::spawn_blocking(move || {
            let mut last = Instant::now();
            model.generate(&request, &networks, &mut |step| {
                metrics.step(step.stage, last.elapsed());
                last = Instant::now();
                progress.set(step.stage, step.step.into(), step.total.into());
                if signal.get().is_some() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
            })
        });
        let joined = tokio::select! {
            joined = &mut rendering => joined,
            _ = stop.wait() => match timeout(self.stop_patience, &mut rendering).await {
                Ok(joined) => joined,
                Err(_) => return Err(Ended::Stuck),
            },
        };
        match (joined, stop.get()) {
            (Ok(Ok(pictures)), None) => Ok(pictures),
            (Ok(_), Some(stop)) => Err(Ended::Stopped(stop)),
            (Ok(Err(EngineError::Failed(report))), None) => Err(Ended::Failed(report)),
            (Ok(Err(EngineError::Stopped)), None) => {
                let message = "the engine stopped without having been told to";
                Err(Ended::Failed(FailureReport::new("EngineStopped", message, true)))
            }
            (Err(panicked), _) => {
                // Nobody knows what state the model is in; the next job loads it afresh.
                self.pool.forget(&job.checkpoint.sha256);
                let message = format!("the engine panicked: {}", panic_text(panicked));
                Err(Ended::Failed(FailureReport::new("EnginePanicked", message, true)))
            }
        }
    }

    /// Tells the facade how the job ended. Returns the outcome for the metrics.
    async fn report(&self, job: &ClaimedJob, ended: Ended, stop: &StopSignal) -> &'static str {
        let attempt = job.attempt;
        let fail = |reason: &str, message: String, retriable| JobFailure {
            attempt,
            failure: FailureReport::new(reason, message, retriable),
        };
        let (failure, outcome) = match ended {
            Ended::Done(completion) => {
                let told = self.tell(job, stop, || self.facade.complete(&job.id, &completion)).await;
                match told {
                    Told::Yes => return "succeeded",
                    Told::Refused(reason, message) if reason == "MissingOutput" => {
                        (fail("MissingOutput", message, true), "failed")
                    }
                    Told::Refused(..) | Told::LeaseLost => return "lease_lost",
                }
            }
            Ended::Stopped(Stop::LeaseLost) => return "lease_lost",
            Ended::Stopped(Stop::ShuttingDown) => {
                let release = Release { attempt };
                self.tell(job, stop, || self.facade.release(&job.id, &release)).await;
                return "released";
            }
            Ended::Stopped(Stop::Cancelled) => {
                (fail("Cancelled", "cancelled by the client".into(), false), "cancelled")
            }
            Ended::Stopped(Stop::TimedOut) => {
                let message = format!("the job did not end within {} s", job.timeout_seconds);
                (fail("Timeout", message, true), "timed_out")
            }
            Ended::Stuck => {
                let message = "the engine did not stop when it was told to; its process ends".into();
                (fail("EngineStuck", message, true), "failed")
            }
            Ended::Failed(failure) => {
                tracing::warn!(
                    job.id = job.id,
                    reason = failure.reason,
                    error = failure.message,
                    "the job failed"
                );
                (JobFailure { attempt, failure }, "failed")
            }
        };
        match self.tell(job, stop, || self.facade.fail(&job.id, &failure)).await {
            Told::Yes => outcome,
            Told::Refused(..) | Told::LeaseLost => "lease_lost",
        }
    }

    /// Repeats a call until it is answered or the lease is lost; heartbeats go on meanwhile.
    async fn tell<F: Future<Output = Result<(), CallError>>>(
        &self,
        job: &ClaimedJob,
        stop: &StopSignal,
        call: impl Fn() -> F,
    ) -> Told {
        let repeat = async {
            let mut backoff = Backoff::new(Duration::from_millis(100), Duration::from_secs(3));
            loop {
                match call().await {
                    Ok(()) => return Told::Yes,
                    Err(error) if error.retriable() => {
                        tracing::warn!(job.id = job.id, error = %chain(&error), "cannot report the job; trying again");
                        sleep(backoff.next_delay()).await;
                    }
                    Err(error) => {
                        tracing::warn!(job.id = job.id, error = %chain(&error), "the report was refused");
                        return match error {
                            CallError::Refused { refusal, .. } => {
                                Told::Refused(refusal.reason, refusal.message)
                            }
                            other => Told::Refused(other.reason().to_owned(), chain(&other)),
                        };
                    }
                }
            }
        };
        tokio::select! {
            told = repeat => told,
            () = stop.lease_lost() => Told::LeaseLost,
        }
    }
}

enum Told {
    Yes,
    Refused(String, String),
    LeaseLost,
}

fn panic_text(error: tokio::task::JoinError) -> String {
    let Ok(payload) = error.try_into_panic() else { return "its thread was cancelled".to_owned() };
    let text = payload.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| payload.downcast_ref::<String>().cloned()).unwrap_or_else(|| "no message".to_owned())
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
