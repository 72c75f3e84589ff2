//! What became of an import Job: read from the Job's conditions and its pods' termination messages. Pure.

use easel_protocol::import::{ImportResult, ImportedModel};
use k8s_openapi::api::batch::v1::{Job, JobCondition};
use k8s_openapi::api::core::v1::{ContainerStateTerminated, Pod};
use k8s_openapi::jiff::Timestamp;
use kube::ResourceExt;

use crate::pods::{PodFailure, current_failure};

/// State of a Job.
#[derive(Clone, Debug, PartialEq)]
pub enum JobState {
    /// Under way; perhaps with something that is wrong at the moment.
    Running {
        trouble: Option<PodFailure>,
    },
    Succeeded(ImportedModel),
    Failed {
        failure: PodFailure,
        at: Option<Timestamp>,
    },
}

/// Reads the state of `job`; `pods` may hold those of other Jobs too.
pub fn job_state(job: &Job, pods: &[Pod]) -> JobState {
    let pods: Vec<&Pod> = pods.iter().filter(|pod| is_of(pod, job)).collect();
    if let Some(failed) = condition(job, "Failed") {
        let at = failed.last_transition_time.as_ref().map(|at| at.0);
        return JobState::Failed { failure: failure(failed, &pods), at };
    }
    let Some(complete) = condition(job, "Complete") else {
        return JobState::Running { trouble: current_failure(pods) };
    };
    let at = complete.last_transition_time.as_ref().map(|at| at.0);
    match succeeded(&pods) {
        Ok(imported) => JobState::Succeeded(imported),
        Err(message) => JobState::Failed {
            failure: PodFailure {
                reason: "ImportResultMissing".to_owned(),
                message,
                retriable: true,
                time: at,
                pod: pods.first().map(|pod| pod.name_any()).unwrap_or_default(),
                exit_code: None,
            },
            at,
        },
    }
}

fn is_of(pod: &Pod, job: &Job) -> bool {
    pod.owner_references().iter().any(|owner| Some(&owner.uid) == job.metadata.uid.as_ref())
}

fn condition<'a>(job: &'a Job, type_: &str) -> Option<&'a JobCondition> {
    let conditions = job.status.as_ref()?.conditions.as_deref()?;
    conditions.iter().find(|c| c.type_ == type_ && c.status == "True")
}

/// How the pod's container ended, if it has.
fn end(pod: &Pod) -> Option<&ContainerStateTerminated> {
    let containers = pod.status.as_ref()?.container_statuses.as_deref()?;
    containers.iter().find_map(|container| container.state.as_ref()?.terminated.as_ref())
}

fn succeeded(pods: &[&Pod]) -> Result<ImportedModel, String> {
    let end = pods.iter().filter_map(|pod| end(pod)).find(|end| end.exit_code == 0);
    let end = end.ok_or("the import succeeded, but its pod is gone and with it the result")?;
    let message = end.message.as_deref().unwrap_or_default();
    match serde_json::from_str(message) {
        Ok(ImportResult::Succeeded(imported)) if !imported.files.is_empty() => Ok(imported),
        Ok(ImportResult::Succeeded(_)) => Err("the import succeeded without any file".to_owned()),
        Ok(ImportResult::Failed(_)) | Err(_) => {
            Err("the import ended with exit status 0, but left no result in its termination message"
                .to_owned())
        }
    }
}

/// The last pod's own words, or else the Job's.
fn failure(failed: &JobCondition, pods: &[&Pod]) -> PodFailure {
    // A Job that the failure policy ended will fail in the same way again.
    let permanent = failed.reason.as_deref() == Some("PodFailurePolicy");
    let mut by_end: Vec<&&Pod> = pods.iter().collect();
    by_end.sort_by_key(|pod| end(pod).and_then(|end| end.finished_at.as_ref().map(|at| at.0)));
    let told = by_end.iter().rev().find_map(|pod| current_failure([**pod]));
    match told {
        Some(told) => PodFailure { retriable: told.retriable && !permanent, ..told },
        None => PodFailure {
            reason: failed.reason.clone().unwrap_or_else(|| "ImportFailed".to_owned()),
            message: failed.message.clone().unwrap_or_else(|| "the import Job failed".to_owned()),
            retriable: !permanent,
            time: failed.last_transition_time.as_ref().map(|at| at.0),
            pod: String::new(),
            exit_code: None,
        },
    }
}
