//! What is to be done about a Model's import: the whole state machine, as a function of what is stored. Its
//! memory is the status (which source was imported) and the Jobs (which round failed when). Pure.
//!
//! A round is one Job, with up to four pods. A permanent failure waits for a new source; so does the last
//! of eight rounds. Whoever deletes the failed Job asks for another try.

use std::time::Duration;

use easel_crds::ModelStatus;
use easel_protocol::import::ImportedModel;
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::jiff::{SignedDuration, Timestamp};
use kube::ResourceExt;

use super::inputs::{Input, waits_for};
use super::{InvalidModel, ValidModel};
use crate::backoff::doubled;
use crate::children::Children;
use crate::jobs::{JobState, job_name, job_state};
use crate::labels::{IMPORT_ROUND, SOURCE_HASH};
use crate::pods::PodFailure;

/// Rounds before giving up: with the waits between them more than an hour of trying.
const MAX_ROUNDS: u32 = 8;
const FIRST_WAIT: Duration = Duration::from_secs(30);
const LONGEST_WAIT: Duration = Duration::from_secs(1800);

/// What to do. A Job that is named here is kept; all others of the Model are deleted.
#[derive(Clone, Debug, PartialEq)]
pub enum Plan {
    /// The status has the files of this source.
    Done,
    WaitForUpload,
    /// For Models that are to be merged; the sentence says which, and why.
    WaitForModels(String),
    /// For the result of a TrainingJob; the sentence says why there is none.
    WaitForTraining(String),
    Suspended,
    /// The Job of this round has to exist and to end.
    Run {
        job: String,
        round: u32,
        trouble: Option<PodFailure>,
    },
    /// The Job has ended well; its result goes into the status.
    Store {
        job: String,
        round: u32,
        imported: ImportedModel,
    },
    /// The Job has failed and is kept for its logs; another follows at `until`.
    BackOff {
        job: String,
        round: u32,
        failure: PodFailure,
        until: Timestamp,
    },
    /// The Job has failed for good.
    Stuck {
        job: String,
        round: u32,
        failure: PodFailure,
    },
}

impl Plan {
    /// The Job that is to stay, with its round.
    pub fn job(&self) -> Option<(&str, u32)> {
        match self {
            Self::Done | Self::WaitForUpload | Self::WaitForModels(_) => None,
            Self::WaitForTraining(_) | Self::Suspended => None,
            Self::Run { job, round, .. }
            | Self::Store { job, round, .. }
            | Self::BackOff { job, round, .. }
            | Self::Stuck { job, round, .. } => Some((job, *round)),
        }
    }

    /// May what the import has fetched be of use yet?
    pub fn goes_on(&self) -> bool {
        match self {
            Self::Run { .. } | Self::BackOff { .. } | Self::Suspended => true,
            Self::Done | Self::WaitForUpload | Self::WaitForModels(_) => false,
            Self::WaitForTraining(_) | Self::Store { .. } | Self::Stuck { .. } => false,
        }
    }

    /// How long until there is something to do without any change.
    pub fn wait(&self, now: Timestamp) -> Option<Duration> {
        match self {
            Self::BackOff { until, .. } => {
                Some(Duration::try_from(until.duration_since(now)).unwrap_or(Duration::ZERO))
            }
            Self::Done | Self::WaitForUpload | Self::WaitForModels(_) => None,
            Self::WaitForTraining(_) | Self::Suspended => None,
            Self::Run { .. } | Self::Store { .. } | Self::Stuck { .. } => None,
        }
    }
}

/// Decides.
///
/// # Errors
/// A Model that is to be merged is none that can be.
pub fn plan(
    valid: &ValidModel,
    status: Option<&ModelStatus>,
    jobs: &Children<Job>,
    pods: &[Pod],
    inputs: &[Input],
    now: Timestamp,
) -> Result<Plan, InvalidModel> {
    let imported = status.is_some_and(|status| {
        status.source_hash.as_ref() == Some(&valid.source_hash) && !status.files.is_empty()
    });
    if imported {
        return Ok(Plan::Done);
    }
    if valid.awaits_upload {
        return Ok(Plan::WaitForUpload);
    }
    if let Some(why) = &valid.awaits_training {
        return Ok(Plan::WaitForTraining(why.clone()));
    }
    if valid.suspended {
        return Ok(Plan::Suspended);
    }
    let ours =
        jobs.ours(&valid.owner).filter(|job| job.annotations().get(SOURCE_HASH) == Some(&valid.source_hash));
    let Some(job) = ours.max_by_key(|job| round_of(job)) else {
        return Ok(waits_for(inputs)?.map_or_else(|| run(valid, 1), Plan::WaitForModels));
    };
    let (name, round) = (job.name_any(), round_of(job));
    Ok(match job_state(job, pods) {
        JobState::Running { trouble } => Plan::Run { job: name, round, trouble },
        JobState::Succeeded { result: imported, .. } => Plan::Store { job: name, round, imported },
        JobState::Failed { failure, .. } if !failure.retriable => Plan::Stuck { job: name, round, failure },
        JobState::Failed { failure, .. } if round >= MAX_ROUNDS => Plan::Stuck { job: name, round, failure },
        JobState::Failed { failure, at } => {
            let wait = SignedDuration::try_from(wait(round)).unwrap_or(SignedDuration::ZERO);
            let until = at.unwrap_or(now).saturating_add(wait).unwrap_or(now);
            if until <= now {
                return Ok(run(valid, round + 1));
            }
            Plan::BackOff { job: name, round, failure, until }
        }
    })
}

fn run(valid: &ValidModel, round: u32) -> Plan {
    Plan::Run { job: job_of(valid, round), round, trouble: None }
}

fn wait(round: u32) -> Duration {
    doubled(FIRST_WAIT, LONGEST_WAIT, round)
}

/// The round that a Job's annotation names.
fn round_of(job: &Job) -> u32 {
    job.annotations().get(IMPORT_ROUND).and_then(|round| round.parse().ok()).unwrap_or(1)
}

/// Name of the Job of a round.
fn job_of(valid: &ValidModel, round: u32) -> String {
    job_name(&valid.owner, &format!("{}/{round}", valid.source_hash))
}

#[cfg(test)]
mod tests;
