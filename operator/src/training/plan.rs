//! What is to be done about a training: the whole state machine, as a function of what is stored. Its memory is the
//! status (is it over, what came out) and the Job (in which round, from which template). Pure.
//!
//! A round begins with a generation of the spec and has one Job at a time. What is Complete is never run again. What has
//! Failed is, in a new round, when the spec has changed since; the trainer goes on from the last checkpoint by itself.
//! A Job whose pods run is left as it is; one that is held is made anew when its template has changed.

use std::time::Duration;

use easel_crds::TrainingJobStatus;
use easel_crds::common::condition::{COMPLETE, FAILED};
use easel_crds::model::StoredFile;
use easel_protocol::training::TrainedFile;
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::jiff::{SignedDuration, Timestamp};
use kube::ResourceExt;

use super::inputs::{OutputState, output_state, waits_for};
use super::{InvalidTraining, References, ValidTraining};
use crate::conditions::{find, is_true};
use crate::jobs::{JobState, job_name, job_state, last_failure_of, pods_of};
use crate::labels::{QUEUE_NAME, TEMPLATE_HASH, TRAINING_ROUND};
use crate::pods::PodFailure;

/// What to do. A Job that is named here is kept; all others of the TrainingJob are deleted.
#[derive(Clone, Debug, PartialEq)]
pub enum Plan {
    /// It cannot start yet.
    Wait {
        reason: &'static str,
        message: String,
    },
    /// The user holds it. The Job is kept if it can go on later; `ending` pods still store their state.
    Suspended {
        job: Option<String>,
        ending: bool,
    },
    /// The Job has to exist, and waits for Kueue.
    Queued {
        job: String,
    },
    /// The Job has to exist and to end.
    Run {
        job: String,
        /// One of its pods has begun.
        begun: bool,
        trouble: Option<PodFailure>,
        /// Of an attempt before.
        failed: Option<PodFailure>,
    },
    /// The Job has ended well; its result goes into the status.
    Store {
        job: String,
        trained: TrainedFile,
        at: Timestamp,
    },
    /// The result is to become a Model; `make` when there is none of the name.
    Import {
        log: Log,
        make: bool,
        why: String,
    },
    Complete {
        log: Log,
    },
    /// Given up now.
    Fail {
        job: Option<String>,
        failure: PodFailure,
        at: Timestamp,
    },
    /// Given up before, and the spec has not changed since.
    Failed {
        log: Log,
    },
}

/// A Job that is over and is kept for its logs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Log {
    pub job: Option<String>,
    pub until: Option<Timestamp>,
}

impl Plan {
    /// The Job that is to stay.
    pub fn job(&self) -> Option<&str> {
        match self {
            Self::Wait { .. } => None,
            Self::Suspended { job, .. } | Self::Fail { job, .. } => job.as_deref(),
            Self::Queued { job } | Self::Run { job, .. } | Self::Store { job, .. } => Some(job),
            Self::Import { log, .. } | Self::Complete { log } | Self::Failed { log } => log.job.as_deref(),
        }
    }

    /// What `suspend` of that Job has to be, where that is ours to say.
    pub fn suspend(&self) -> Option<bool> {
        match self {
            Self::Suspended { .. } => Some(true),
            Self::Run { .. } => Some(false),
            Self::Wait { .. } | Self::Queued { .. } | Self::Store { .. } | Self::Import { .. } => None,
            Self::Complete { .. } | Self::Fail { .. } | Self::Failed { .. } => None,
        }
    }

    /// How long until there is something to do without any change.
    pub fn wait(&self, now: Timestamp) -> Option<Duration> {
        let until = match self {
            Self::Import { log, .. } | Self::Complete { log } | Self::Failed { log } => log.until?,
            Self::Wait { .. } | Self::Suspended { .. } | Self::Queued { .. } | Self::Run { .. } => {
                return None;
            }
            Self::Store { .. } | Self::Fail { .. } => return None,
        };
        Some(Duration::try_from(until.duration_since(now)).unwrap_or(Duration::ZERO))
    }
}

/// Decides; `template` is the hash of what the Job would be made of now.
///
/// # Errors
/// The training cannot start, or its result cannot be stored, before a person changes something.
pub fn plan(
    valid: &ValidTraining,
    template: &str,
    status: &TrainingJobStatus,
    refs: &References,
    now: Timestamp,
) -> Result<Plan, InvalidTraining> {
    if is_true(&status.conditions, COMPLETE) {
        return Ok(Plan::Complete { log: log(valid, status, now) });
    }
    let failed = find(&status.conditions, FAILED).filter(|failed| failed.status == "True");
    let failed_at = failed.and_then(|failed| failed.observed_generation);
    match (&status.result, failed_at) {
        (_, Some(generation)) if generation == valid.generation => {
            return Ok(Plan::Failed { log: log(valid, status, now) });
        }
        (Some(result), None) => return import(valid, result, status, refs, now),
        // What a former round left is of no use to this one.
        (_, _) => {}
    }
    let this_round = |job: &&Job| failed_at.is_none_or(|at| round_of(job) > at);
    let ours = refs.jobs.ours(&valid.owner).filter(this_round);
    match ours.max_by_key(|job| (round_of(job), job.creation_timestamp().map(|at| at.0))) {
        Some(job) => go_on(valid, template, job, refs, now),
        None if valid.suspended => Ok(Plan::Suspended { job: None, ending: pod_is_left(&refs.pods) }),
        None => start(valid, template, refs),
    }
}

fn start(valid: &ValidTraining, template: &str, refs: &References) -> Result<Plan, InvalidTraining> {
    let Some(inputs) = refs.inputs.as_ref().filter(|_| !pod_is_left(&refs.pods)) else {
        // Two trainers at once would write over each other's checkpoints.
        return Ok(restarting());
    };
    match output_state(&valid.owner, &valid.output, inputs.output.as_ref(), None) {
        OutputState::Foreign => {
            return Err(InvalidTraining::OutputModelExists { name: valid.output.model.clone() });
        }
        OutputState::Free | OutputState::Ready | OutputState::Importing(_) | OutputState::Stuck(..) => {}
    }
    if let Some((reason, message)) = waits_for(inputs, &valid.base)? {
        return Ok(Plan::Wait { reason, message });
    }
    let identity = format!("{}/{}/{template}", valid.owner.uid, valid.generation);
    Ok(match job_name(&valid.owner, &identity) {
        job if valid.queue.is_some() => Plan::Queued { job },
        job => Plan::Run { job, begun: false, trouble: None, failed: None },
    })
}

fn restarting() -> Plan {
    Plan::Wait { reason: "Restarting", message: "its former Job and pods are being removed".to_owned() }
}

/// What becomes of the Job of this round.
fn go_on(
    valid: &ValidTraining,
    template: &str,
    job: &Job,
    refs: &References,
    now: Timestamp,
) -> Result<Plan, InvalidTraining> {
    let name = job.name_any();
    let trouble = match job_state::<TrainedFile>(job, &refs.pods) {
        JobState::Succeeded { result: trained, at } => {
            return Ok(Plan::Store { job: name, trained, at: at.unwrap_or(now) });
        }
        JobState::Failed { failure, at } => {
            let failure = explained(failure, valid);
            return Ok(Plan::Fail { job: Some(name), failure, at: at.unwrap_or(now) });
        }
        JobState::Running { trouble } => trouble,
    };
    let held = job.spec.as_ref().and_then(|spec| spec.suspend) == Some(true);
    let queued = job.labels().contains_key(QUEUE_NAME);
    let outdated = job.annotations().get(TEMPLATE_HASH).map(String::as_str) != Some(template);
    let pods = pods_of(job, &refs.pods);
    Ok(match valid.suspended {
        // A Job that is Kueue's cannot be held by us; it is made again.
        true if queued || outdated => Plan::Suspended { job: None, ending: pod_is_left(&refs.pods) },
        true => Plan::Suspended { job: Some(name), ending: pod_is_left(&refs.pods) },
        false if held && outdated => restarting(),
        false if held && queued => Plan::Queued { job: name },
        false => {
            let begun = pods.iter().any(|pod| phase(pod) == Some("Running"));
            Plan::Run { job: name, begun, trouble, failed: last_failure_of(&pods) }
        }
    })
}

/// The API's word for a run that took too long says nothing about which field to change.
fn explained(failure: PodFailure, valid: &ValidTraining) -> PodFailure {
    if failure.reason != "DeadlineExceeded" {
        return failure;
    }
    let seconds = valid.timeout_seconds;
    let message = format!("the run took longer than the {seconds} s of spec.timeoutSeconds");
    PodFailure { message, ..failure }
}

/// The result is there: is it a Model yet?
fn import(
    valid: &ValidTraining,
    result: &StoredFile,
    status: &TrainingJobStatus,
    refs: &References,
    now: Timestamp,
) -> Result<Plan, InvalidTraining> {
    let log = log(valid, status, now);
    let name = &valid.output.model;
    let found = refs.inputs.as_ref().and_then(|inputs| inputs.output.as_ref());
    let trained = (result.sha256.as_str(), status.completion_time.as_ref());
    Ok(match output_state(&valid.owner, &valid.output, found, Some(trained)) {
        OutputState::Foreign => return Err(InvalidTraining::OutputModelExists { name: name.clone() }),
        OutputState::Free => {
            Plan::Import { log, make: refs.inputs.is_some(), why: format!("Model {name} is made of it") }
        }
        OutputState::Importing(reason) => {
            Plan::Import { log, make: false, why: format!("Model {name} is not Ready yet ({reason})") }
        }
        OutputState::Ready => Plan::Complete { log },
        OutputState::Stuck(reason, message) => {
            let message = format!("Model {name} cannot be made of the result: {message}");
            let failure = PodFailure {
                reason,
                message,
                retriable: false,
                time: None,
                pod: String::new(),
                exit_code: None,
            };
            let at = status.completion_time.as_ref().map_or(now, |at| at.0);
            Plan::Fail { job: log.job, failure, at }
        }
    })
}

/// The Job of a training that is over, as long as it is to be kept.
fn log(valid: &ValidTraining, status: &TrainingJobStatus, now: Timestamp) -> Log {
    let Some(end) = &status.completion_time else { return Log { job: status.job.clone(), until: None } };
    let life = SignedDuration::try_from(valid.log_life).unwrap_or(SignedDuration::ZERO);
    match end.0.saturating_add(life) {
        Ok(until) if until > now => Log { job: status.job.clone(), until: Some(until) },
        Ok(_) | Err(_) => Log::default(),
    }
}

/// The generation of the spec with which a Job's round began.
fn round_of(job: &Job) -> i64 {
    job.annotations().get(TRAINING_ROUND).and_then(|round| round.parse().ok()).unwrap_or(0)
}

fn phase(pod: &Pod) -> Option<&str> {
    pod.status.as_ref()?.phase.as_deref()
}

/// Is there a pod that may still do something?
fn pod_is_left(pods: &[Pod]) -> bool {
    pods.iter().any(|pod| !matches!(phase(pod), Some("Succeeded" | "Failed")))
}

#[cfg(test)]
mod tests;
