//! What is to be done about a Dataset: the whole state machine, as a function of what is stored. Its memory is the status
//! (which items were checked, and how that went) and the Job (which round, when it ended). Pure.
//!
//! A round is one Job. One that found pictures missing or of no use is followed by another after a while, as long as the
//! set is Enabled: an upload through a presigned URL is seen by nobody. Whoever deletes the Job asks for a look at once.

use std::time::Duration;

use easel_crds::DatasetStatus;
use easel_protocol::dataset::CheckedDataset;
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::jiff::{SignedDuration, Timestamp};
use kube::ResourceExt;

use super::ValidDataset;
use crate::backoff::doubled;
use crate::children::Children;
use crate::jobs::{JobState, job_name, job_state};
use crate::labels::{CHECK_ROUND, ITEMS_HASH};
use crate::pods::PodFailure;

const FIRST_WAIT: Duration = Duration::from_secs(30);
/// Above, a late upload goes unseen for long; below, a set that nobody completes costs pods all day.
const LONGEST_WAIT: Duration = Duration::from_secs(1800);

/// What to do. A Job that is named here is kept; all others of the Dataset are deleted.
#[derive(Clone, Debug, PartialEq)]
pub enum Plan {
    /// Nobody may use it yet.
    Disabled,
    NoItems,
    /// The status has the check of these items, and all is well.
    Done,
    /// The Job of this round has to exist and to end.
    Run {
        job: String,
        round: u32,
        trouble: Option<PodFailure>,
    },
    /// The Job has ended; what it found goes into the status. With `again`, it is kept until the next look at that time.
    Store {
        job: String,
        round: u32,
        checked: CheckedDataset,
        again: Option<Timestamp>,
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
            Self::Disabled | Self::NoItems | Self::Done => None,
            Self::Run { job, round, .. }
            | Self::Store { job, round, .. }
            | Self::BackOff { job, round, .. }
            | Self::Stuck { job, round, .. } => Some((job, *round)),
        }
    }

    /// How long until there is something to do without any change.
    pub fn wait(&self, now: Timestamp) -> Option<Duration> {
        let until = match self {
            Self::BackOff { until, .. } => *until,
            Self::Store { again, .. } => (*again)?,
            Self::Disabled | Self::NoItems | Self::Done => return None,
            Self::Run { .. } | Self::Stuck { .. } => return None,
        };
        Some(Duration::try_from(until.duration_since(now)).unwrap_or(Duration::ZERO))
    }
}

/// Decides.
pub fn plan(
    valid: &ValidDataset,
    status: Option<&DatasetStatus>,
    jobs: &Children<Job>,
    pods: &[Pod],
    now: Timestamp,
) -> Plan {
    if !valid.enabled {
        return Plan::Disabled;
    }
    if !valid.has_items {
        return Plan::NoItems;
    }
    let known = status.filter(|status| status.items_hash.as_ref() == Some(&valid.items_hash));
    if known.is_some_and(is_well) {
        return Plan::Done;
    }
    let ours =
        jobs.ours(&valid.owner).filter(|job| job.annotations().get(ITEMS_HASH) == Some(&valid.items_hash));
    let Some(job) = ours.max_by_key(|job| round_of(job)) else { return run(valid, 1) };
    let (name, round) = (job.name_any(), round_of(job));
    match job_state::<CheckedDataset>(job, pods) {
        JobState::Running { trouble } => Plan::Run { job: name, round, trouble },
        JobState::Succeeded { result: checked, .. } if is_clean(&checked) => {
            Plan::Store { job: name, round, checked, again: None }
        }
        JobState::Succeeded { result: checked, at } => match next(round, at, now) {
            // Once more than is needed, should the status not have it yet.
            Some(until) => Plan::Store { job: name, round, checked, again: Some(until) },
            None => run(valid, round.saturating_add(1)),
        },
        JobState::Failed { failure, .. } if !failure.retriable => Plan::Stuck { job: name, round, failure },
        JobState::Failed { failure, at } => match next(round, at, now) {
            Some(until) => Plan::BackOff { job: name, round, failure, until },
            None => run(valid, round.saturating_add(1)),
        },
    }
}

fn run(valid: &ValidDataset, round: u32) -> Plan {
    let job = job_name(&valid.owner, &format!("{}/{round}", valid.items_hash));
    Plan::Run { job, round, trouble: None }
}

/// When the round after this one begins; `None`: now.
fn next(round: u32, ended: Option<Timestamp>, now: Timestamp) -> Option<Timestamp> {
    let wait =
        SignedDuration::try_from(doubled(FIRST_WAIT, LONGEST_WAIT, round)).unwrap_or(SignedDuration::ZERO);
    let until = ended.unwrap_or(now).saturating_add(wait).unwrap_or(now);
    (until > now).then_some(until)
}

/// May it be trained on?
fn is_clean(checked: &CheckedDataset) -> bool {
    checked.missing == 0 && checked.invalid == 0 && checked.enabled > 0
}

/// [`is_clean`], read from the status.
fn is_well(status: &DatasetStatus) -> bool {
    let none = |count: Option<u32>| count.unwrap_or(0) == 0;
    none(status.missing_count) && none(status.invalid_count) && !none(status.enabled_count)
}

fn round_of(job: &Job) -> u32 {
    job.annotations().get(CHECK_ROUND).and_then(|round| round.parse().ok()).unwrap_or(1)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::dataset::build::testing::{dataset, job as built_job};
    use crate::dataset::validate;

    fn valid() -> ValidDataset {
        validate(&dataset("{items: [{name: a.png}]}")).unwrap()
    }

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn job(round: u32, type_: &str, reason: &str) -> Job {
        let mut job = built_job(&valid(), round);
        job.metadata.uid = Some(format!("job-{round}"));
        job.status = serde_json::from_value(json!({"conditions": [{"type": type_, "status": "True",
            "reason": reason, "lastTransitionTime": at(1000).to_string()}]}))
        .unwrap();
        job
    }

    fn pod(round: u32, exit_code: i32, message: &Value) -> Pod {
        serde_json::from_value(json!({
            "metadata": {"name": "p", "ownerReferences":
                [{"apiVersion": "batch/v1", "kind": "Job", "name": "j", "uid": format!("job-{round}")}]},
            "status": {"containerStatuses": [{"name": "check", "image": "", "imageID": "", "ready": false,
                "restartCount": 0, "state": {"terminated": {"exitCode": exit_code,
                    "message": message.to_string(), "finishedAt": "2026-01-01T00:00:00Z"}}}]},
        }))
        .unwrap()
    }

    fn checked(missing: u32, invalid: u32) -> Value {
        json!({"Checked": {"items": 1, "enabled": 1, "sizeBytes": 9, "missing": missing, "invalid": invalid,
            "duplicates": 0, "problems": [], "report": null}})
    }

    fn decide(status: &Value, jobs: &[Job], pods: &[Pod], now: i64) -> Plan {
        let status: DatasetStatus = serde_json::from_value(status.clone()).unwrap();
        plan(&valid(), Some(&status), &Children { live: jobs.to_vec() }, pods, at(now))
    }

    #[test]
    fn nothing_runs_without_need() {
        let plan_of = |spec: &str| {
            plan(&validate(&dataset(spec)).unwrap(), None, &Children { live: Vec::new() }, &[], at(0))
        };
        assert_eq!(plan_of("{items: [{name: a.png}], state: Disabled}"), Plan::Disabled);
        assert_eq!(plan_of("{}"), Plan::NoItems);
        assert!(matches!(plan_of("{items: [{name: a.png}]}"), Plan::Run { round: 1, .. }));
        let well = json!({"itemsHash": valid().items_hash, "enabledCount": 1});
        assert_eq!(decide(&well, &[], &[], 0), Plan::Done);
        let others = [
            json!({"itemsHash": "other", "enabledCount": 1}),
            json!({"itemsHash": valid().items_hash, "enabledCount": 1, "missingCount": 1}),
            json!({"itemsHash": valid().items_hash, "enabledCount": 0}),
        ];
        for status in others {
            assert!(matches!(decide(&status, &[], &[], 0), Plan::Run { .. }), "{status}");
        }
    }

    #[test]
    fn what_is_missing_is_looked_for_again_for_ever() {
        let waits: Vec<i64> = (1..=9)
            .map(|round| {
                let (job, pods) = (job(round, "Complete", ""), [pod(round, 0, &checked(1, 0))]);
                let first = decide(&json!({}), std::slice::from_ref(&job), &pods, 1000);
                let Plan::Store { again: Some(until), .. } = first else { panic!("{first:?}") };
                let after = decide(&json!({}), &[job], &pods, until.as_second());
                assert!(matches!(after, Plan::Run { round: next, .. } if next == round + 1), "{after:?}");
                until.as_second() - 1000
            })
            .collect();
        assert_eq!(waits, [30, 60, 120, 240, 480, 960, 1800, 1800, 1800]);
    }

    #[test]
    fn the_end_of_a_check_decides() {
        let failed =
            |retriable: bool| json!({"Failed": {"reason": "R", "message": "m", "retriable": retriable}});
        let cases = [
            ("all well", job(1, "Complete", ""), pod(1, 0, &checked(0, 0)), "Store None"),
            ("of no use", job(1, "Complete", ""), pod(1, 0, &checked(0, 1)), "Store again"),
            ("no result", job(1, "Complete", ""), pod(1, 0, &json!("?")), "BackOff CheckResultMissing"),
            ("may pass", job(1, "Failed", "BackoffLimitExceeded"), pod(1, 75, &failed(true)), "BackOff R"),
            ("for good", job(1, "Failed", "PodFailurePolicy"), pod(1, 65, &failed(false)), "Stuck R"),
        ];
        for (name, job, pod, want) in cases {
            let told = match decide(&json!({}), &[job], &[pod], 1001) {
                Plan::Store { again, .. } => format!("Store {}", again.map_or("None", |_| "again")),
                Plan::BackOff { failure, .. } => format!("BackOff {}", failure.reason),
                Plan::Stuck { failure, .. } => format!("Stuck {}", failure.reason),
                other => format!("{other:?}"),
            };
            assert_eq!(told, want, "{name}");
        }
    }

    #[test]
    fn a_check_of_other_items_does_not_count() {
        let mut other = job(3, "Complete", "");
        other.annotations_mut().insert(ITEMS_HASH.into(), "other".into());
        let decided = decide(&json!({}), &[other], &[], 0);
        assert!(matches!(decided, Plan::Run { round: 1, .. }), "{decided:?}");
    }
}
