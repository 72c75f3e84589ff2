//! A TrainingJob's status from what was decided and observed. Pure: time is an argument. What the facade reports (stage,
//! steps, loss, checkpoint, samples) is not written here.

use easel_crds::common::condition::{COMPLETE, FAILED, SUSPENDED};
use easel_crds::common::{ObjectRef, Time};
use easel_crds::model::StoredFile;
use easel_crds::{Condition, TrainingJob, TrainingJobStatus};
use easel_protocol::training::{TrainStage, TrainedFile};
use k8s_openapi::jiff::Timestamp;

use super::{Applied, Plan};
use crate::conditions::{Conditions, READY, RECONCILING, STALLED, find, is_true};
use crate::error::Error;
use crate::objects::{failure_of, last_failure};
use crate::pods::PodFailure;

/// What helps after a failure.
const REMEDY: &str = "change the spec to have it tried again; it goes on from its last checkpoint";

/// The status after a reconcile, whatever came of it.
pub fn derive_status(
    training: &TrainingJob,
    outcome: &Result<Applied, Error>,
    now: Timestamp,
) -> TrainingJobStatus {
    let old = training.status.clone().unwrap_or_default();
    match outcome {
        Ok(applied) => planned(training, &old, applied, now),
        Err(error) => failed(training, &old, error, now),
    }
}

/// The part of a status that the operator writes.
pub fn ours(status: &TrainingJobStatus) -> TrainingJobStatus {
    TrainingJobStatus {
        observed_generation: status.observed_generation,
        conditions: status.conditions.clone(),
        job: status.job.clone(),
        start_time: status.start_time.clone(),
        completion_time: status.completion_time.clone(),
        attempts: status.attempts,
        result: status.result.clone(),
        output_model: status.output_model.clone(),
        last_failure: status.last_failure.clone(),
        ..TrainingJobStatus::default()
    }
}

fn planned(
    training: &TrainingJob,
    old: &TrainingJobStatus,
    applied: &Applied,
    now: Timestamp,
) -> TrainingJobStatus {
    let plan = &applied.plan;
    let over = matches!(plan, Plan::Import { .. } | Plan::Complete { .. } | Plan::Failed { .. });
    let by_model = matches!(plan, Plan::Fail { .. }) && was_trained(training, old);
    let mut status = ours(old);
    status.observed_generation = training.metadata.generation;
    status.conditions = match plan {
        // As they were when it failed.
        Plan::Failed { .. } => old.conditions.clone(),
        _ => conditions(training, old, applied, now),
    };
    if !over {
        status.job = plan.job().map(str::to_owned);
    }
    status.attempts = applied.attempts.max(old.attempts);
    status.start_time = old.start_time.clone().or_else(|| applied.started.map(seconds));
    match plan {
        Plan::Store { trained, at, .. } => {
            status.result = Some(stored(trained));
            status.completion_time = Some(seconds(*at));
        }
        Plan::Fail { at, .. } => {
            status.completion_time = Some(seconds(*at));
            status.result = old.result.clone().filter(|_| by_model);
        }
        _ if over => {}
        _ => {
            (status.result, status.completion_time) = (None, None);
        }
    }
    status.output_model = match plan {
        Plan::Import { .. } | Plan::Complete { .. } => Some(ObjectRef::new(&applied.output)),
        Plan::Failed { .. } => old.output_model.clone(),
        _ => old.output_model.clone().filter(|_| by_model),
    };
    if let Some(found) = failure(plan) {
        status.last_failure = Some(last_failure(old.last_failure.as_ref(), found, now));
    }
    status
}

/// Did this round get as far as a result? One of a round that failed before is none of this one.
fn was_trained(training: &TrainingJob, old: &TrainingJobStatus) -> bool {
    let failed = find(&old.conditions, FAILED).is_some_and(|failed| {
        failed.status == "True" && failed.observed_generation != training.metadata.generation
    });
    old.result.is_some() && !failed
}

/// Whole seconds, as the API server stores them.
fn seconds(at: Timestamp) -> Time {
    Time(Timestamp::from_second(at.as_second()).unwrap_or(at))
}

fn stored(trained: &TrainedFile) -> StoredFile {
    let file = &trained.file;
    StoredFile {
        name: file.name.clone(),
        key: file.key.clone(),
        sha256: file.sha256.clone(),
        size_bytes: file.size_bytes,
    }
}

fn failure(plan: &Plan) -> Option<&PodFailure> {
    match plan {
        Plan::Run { trouble, failed, .. } => trouble.as_ref().or(failed.as_ref()),
        Plan::Fail { failure, .. } => Some(failure),
        Plan::Wait { .. } | Plan::Suspended { .. } | Plan::Queued { .. } | Plan::Store { .. } => None,
        Plan::Import { .. } | Plan::Complete { .. } | Plan::Failed { .. } => None,
    }
}

/// How things stand, for the conditions.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Standing {
    Working,
    Held,
    /// Held by a queue, which will let it go.
    Queued,
    Complete,
    Failed,
}

fn describe(status: &TrainingJobStatus, applied: &Applied) -> (Standing, String, String) {
    let output = &applied.output;
    let (standing, reason, message) = match &applied.plan {
        Plan::Wait { reason, message } => (Standing::Working, *reason, message.clone()),
        Plan::Suspended { ending, .. } => {
            let ending = if *ending { "; the trainer still stores its state" } else { "" };
            let message = format!("spec.suspend is set: the training is held{ending}");
            (Standing::Held, "SuspendedByUser", message)
        }
        Plan::Queued { job } => {
            (Standing::Queued, "WaitingForQueue", format!("Job {job} waits for its queue to admit it"))
        }
        Plan::Run { trouble: Some(trouble), .. } => {
            return (Standing::Working, trouble.reason.clone(), trouble.message.clone());
        }
        Plan::Run { job, begun: false, .. } => {
            (Standing::Working, "Pending", format!("Job {job} waits for its pod to begin"))
        }
        Plan::Run { job, begun: true, .. } => running(job, status.stage.as_deref()),
        Plan::Store { .. } => {
            (Standing::Working, "Importing", format!("the training has ended; Model {output} is next"))
        }
        Plan::Import { why, .. } => {
            (Standing::Working, "Importing", format!("the training has ended; {why}"))
        }
        Plan::Complete { .. } => (Standing::Complete, "Complete", format!("the result is Model {output}")),
        Plan::Fail { failure, .. } => {
            return (Standing::Failed, failure.reason.clone(), format!("{}; {REMEDY}", failure.message));
        }
        // Its conditions stay; see above.
        Plan::Failed { .. } => (Standing::Failed, "Failed", String::new()),
    };
    (standing, reason.to_owned(), message)
}

/// What the trainer says that it does. Steps are not told here: they would be a new message each.
fn running(job: &str, stage: Option<&str>) -> (Standing, &'static str, String) {
    let stages = [
        (TrainStage::Downloading, "fetches the base, the pictures and the last checkpoint"),
        (TrainStage::ClassPictures, "draws pictures of the class"),
        (TrainStage::Encoding, "encodes the pictures"),
        (TrainStage::Training, "trains; status.step tells how far it is"),
        (TrainStage::Storing, "stores the result"),
    ];
    let told = stages.into_iter().find(|(known, _)| Some(known.as_str()) == stage);
    let (reason, does) = told.map_or(("Running", "begins"), |(known, does)| (known.as_str(), does));
    (Standing::Working, reason, format!("Job {job} {does}"))
}

fn conditions(
    training: &TrainingJob,
    old: &TrainingJobStatus,
    applied: &Applied,
    now: Timestamp,
) -> Vec<Condition> {
    let (standing, reason, message) = describe(old, applied);
    let why = (reason.as_str(), message.as_str());
    let holds = |standings: &[Standing]| standings.contains(&standing).then_some(why);
    let mut conditions = Conditions::new(&old.conditions, training.metadata.generation, now);
    conditions.set(READY, standing == Standing::Complete, why.0, why.1);
    conditions.flag(SUSPENDED, holds(&[Standing::Held, Standing::Queued]), "NotSuspended");
    conditions.flag(COMPLETE, holds(&[Standing::Complete]), "NotComplete");
    conditions.flag(FAILED, holds(&[Standing::Failed]), "NotFailed");
    conditions.flag(RECONCILING, holds(&[Standing::Working, Standing::Queued]), "Settled");
    conditions.flag(STALLED, holds(&[Standing::Failed]), "NotStalled");
    conditions.finish()
}

/// The status after a reconcile that failed: what was known stays, as nothing new was seen. Whether it is over is known
/// by the generation that was looked at then.
fn failed(
    training: &TrainingJob,
    old: &TrainingJobStatus,
    error: &Error,
    now: Timestamp,
) -> TrainingJobStatus {
    let (reason, message) = (error.reason(), error.message());
    let why = (reason, message.as_str());
    let mut conditions = Conditions::new(&old.conditions, training.metadata.generation, now);
    if is_true(&old.conditions, COMPLETE) {
        conditions.keep(READY);
    } else {
        conditions.set(READY, false, why.0, why.1);
    }
    conditions.keep(SUSPENDED).keep(COMPLETE).keep(FAILED);
    conditions.flag(RECONCILING, error.retriable().then_some(why), "Settled");
    conditions.flag(STALLED, (!error.retriable()).then_some(why), "NotStalled");
    let mut status = ours(old);
    status.observed_generation = training.metadata.generation;
    status.conditions = conditions.finish();
    if !error.is_wait() {
        status.last_failure = Some(last_failure(old.last_failure.as_ref(), &failure_of(error), now));
    }
    status
}
