//! What became of a Job: read from its conditions and its pods' termination messages. Pure.

use k8s_openapi::api::batch::v1::{Job, JobCondition};
use k8s_openapi::api::core::v1::{ContainerStateTerminated, Pod};
use k8s_openapi::jiff::Timestamp;
use kube::ResourceExt;

use crate::pods::{PodFailure, current_failure};

/// What a Job leaves in its termination message when it succeeds.
pub trait JobResult: Sized {
    /// What the Job does, as a noun: `import`.
    const WORK: &'static str;
    /// Reason of a Job that failed and does not say why.
    const FAILED: &'static str;
    /// Reason of a Job that succeeded without leaving a result.
    const MISSING: &'static str;

    /// The result in a message; `None` when there is none.
    fn read(message: &str) -> Option<Self>;
}

/// State of a Job.
#[derive(Clone, Debug, PartialEq)]
pub enum JobState<T> {
    /// Under way; perhaps with something that is wrong at the moment.
    Running {
        trouble: Option<PodFailure>,
    },
    Succeeded {
        result: T,
        at: Option<Timestamp>,
    },
    Failed {
        failure: PodFailure,
        at: Option<Timestamp>,
    },
}

/// Reads the state of `job`; `pods` may hold those of other Jobs too.
pub fn job_state<T: JobResult>(job: &Job, pods: &[Pod]) -> JobState<T> {
    let pods = pods_of(job, pods);
    let time = |condition: &JobCondition| condition.last_transition_time.as_ref().map(|at| at.0);
    if let Some(failed) = condition(job, "Failed") {
        return JobState::Failed { failure: failure::<T>(failed, &pods), at: time(failed) };
    }
    let Some(complete) = condition(job, "Complete") else {
        return JobState::Running { trouble: trouble(&pods) };
    };
    let at = time(complete);
    match succeeded(&pods) {
        Ok(result) => JobState::Succeeded { result, at },
        Err(message) => JobState::Failed {
            failure: PodFailure {
                reason: T::MISSING.to_owned(),
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

/// The pods that `job` controls.
pub fn pods_of<'a>(job: &Job, pods: &'a [Pod]) -> Vec<&'a Pod> {
    let owned =
        |pod: &&Pod| pod.owner_references().iter().any(|owner| Some(&owner.uid) == job.metadata.uid.as_ref());
    pods.iter().filter(owned).collect()
}

/// What the pod that failed last says about it.
pub fn last_failure_of(pods: &[&Pod]) -> Option<PodFailure> {
    let mut by_end = pods.to_vec();
    by_end.sort_by_key(|pod| end(pod).and_then(|end| end.finished_at.as_ref().map(|at| at.0)));
    by_end.iter().rev().find_map(|pod| current_failure([*pod]))
}

/// What keeps the pod that is to do the work from it; with no such pod, why the last one failed.
fn trouble(pods: &[&Pod]) -> Option<PodFailure> {
    let at_work: Vec<&Pod> = pods.iter().copied().filter(|pod| end(pod).is_none() && !is_over(pod)).collect();
    if at_work.is_empty() { last_failure_of(pods) } else { current_failure(at_work) }
}

fn is_over(pod: &Pod) -> bool {
    let phase = pod.status.as_ref().and_then(|status| status.phase.as_deref());
    matches!(phase, Some("Succeeded" | "Failed"))
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

fn succeeded<T: JobResult>(pods: &[&Pod]) -> Result<T, String> {
    let end = pods.iter().filter_map(|pod| end(pod)).find(|end| end.exit_code == 0);
    let work = T::WORK;
    let end =
        end.ok_or_else(|| format!("the {work} succeeded, but its pod is gone and with it the result"))?;
    T::read(end.message.as_deref().unwrap_or_default()).ok_or_else(|| {
        format!("the {work} ended with exit status 0, but left no result in its termination message")
    })
}

/// The last pod's own words, or else the Job's.
fn failure<T: JobResult>(failed: &JobCondition, pods: &[&Pod]) -> PodFailure {
    // A Job that the failure policy ended will fail in the same way again.
    let permanent = failed.reason.as_deref() == Some("PodFailurePolicy");
    // What ran out of time did not fail by what an earlier pod failed by.
    let late = failed.reason.as_deref() == Some("DeadlineExceeded");
    match last_failure_of(pods).filter(|_| !late) {
        Some(told) => PodFailure { retriable: told.retriable && !permanent, ..told },
        None => PodFailure {
            reason: failed.reason.clone().unwrap_or_else(|| T::FAILED.to_owned()),
            message: failed.message.clone().unwrap_or_else(|| format!("the {} Job failed", T::WORK)),
            retriable: !permanent,
            time: failed.last_transition_time.as_ref().map(|at| at.0),
            pod: String::new(),
            exit_code: None,
        },
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    #[derive(Debug, PartialEq)]
    struct Number(u32);

    impl JobResult for Number {
        const WORK: &'static str = "count";
        const FAILED: &'static str = "CountFailed";
        const MISSING: &'static str = "CountMissing";

        fn read(message: &str) -> Option<Self> {
            message.parse().ok().map(Self)
        }
    }

    fn job(condition: Option<(&str, &str)>) -> Job {
        let conditions: Vec<Value> = condition
            .iter()
            .map(|(type_, reason)| {
                json!({"type": type_, "status": "True", "reason": reason, "message": "said by the Job",
                    "lastTransitionTime": "2026-01-01T00:00:09Z"})
            })
            .collect();
        serde_json::from_value(json!({"metadata": {"name": "j", "uid": "job"},
            "status": {"conditions": conditions}}))
        .unwrap()
    }

    fn pod(name: &str, state: &Value) -> Pod {
        serde_json::from_value(json!({
            "metadata": {"name": name, "ownerReferences":
                [{"apiVersion": "batch/v1", "kind": "Job", "name": "j", "uid": "job"}]},
            "status": {"containerStatuses": [{"name": "c", "image": "", "imageID": "", "ready": false,
                "restartCount": 0, "state": state}]},
        }))
        .unwrap()
    }

    fn ended(name: &str, second: u8, exit_code: i32, message: &str) -> Pod {
        let end = json!({"exitCode": exit_code, "message": message,
            "finishedAt": format!("2026-01-01T00:00:0{second}Z")});
        pod(name, &json!({"terminated": end}))
    }

    fn reason(state: JobState<Number>) -> String {
        match state {
            JobState::Running { trouble } => format!("running {:?}", trouble.map(|t| t.reason)),
            JobState::Succeeded { result, .. } => format!("succeeded {}", result.0),
            JobState::Failed { failure, .. } => format!("failed {} {}", failure.reason, failure.retriable),
        }
    }

    #[test]
    fn the_state_is_that_of_the_pod_that_matters() {
        let report = |word: &str| format!("{{\"reason\":\"{word}\",\"message\":\"m\",\"retriable\":true}}");
        let (first, second) = (ended("z", 1, 75, &report("First")), ended("a", 2, 75, &report("Second")));
        let waits = pod("w", &json!({"waiting": {"reason": "ErrImagePull"}}));
        let works = pod("w", &json!({"running": {}}));
        let interrupted = ended("i", 3, 143, r#"{"Interrupted":{"step":7}}"#);
        let failed = |reason| Some(("Failed", reason));
        let cases = [
            ("a pod works after another failed", None, vec![first.clone(), works], "running None"),
            ("a pod cannot start", None, vec![first.clone(), waits], "running Some(\"ImagePullFailed\")"),
            ("between two pods", None, vec![second.clone(), first.clone()], "running Some(\"Second\")"),
            ("an interruption is no failure", None, vec![interrupted], "running None"),
            ("done", Some(("Complete", "")), vec![first.clone(), ended("b", 3, 0, "7")], "succeeded 7"),
            (
                "done, no result",
                Some(("Complete", "")),
                vec![ended("b", 3, 0, "?")],
                "failed CountMissing true",
            ),
            ("done, no pod", Some(("Complete", "")), vec![], "failed CountMissing true"),
            (
                "the last of several",
                failed("BackoffLimitExceeded"),
                vec![second.clone(), first.clone()],
                "failed Second true",
            ),
            ("for good", failed("PodFailurePolicy"), vec![first.clone()], "failed First false"),
            ("no words", failed("BackoffLimitExceeded"), vec![], "failed BackoffLimitExceeded true"),
            ("late", failed("DeadlineExceeded"), vec![first], "failed DeadlineExceeded true"),
        ];
        for (name, condition, pods, want) in cases {
            assert_eq!(reason(job_state(&job(condition), &pods)), want, "{name}");
        }
    }
}
