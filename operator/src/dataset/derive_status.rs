//! A Dataset's status from what was decided and observed. Pure: time is an argument.

use easel_crds::dataset::ItemProblem;
use easel_crds::{Condition, Dataset, DatasetStatus};
use easel_protocol::dataset::{CheckedDataset, MAX_PROBLEMS};
use k8s_openapi::jiff::Timestamp;

use super::{Applied, Plan};
use crate::conditions::{Conditions, READY, RECONCILING, STALLED, find};
use crate::error::Error;
use crate::objects::{failure_of, last_failure};
use crate::pods::PodFailure;

/// The API keeps no more; a user that is left out still uses the Dataset.
const MAX_USERS: usize = 32;
/// Longest name of a picture that the API keeps.
const MAX_NAME: usize = 128;
/// Pictures that are named in a sentence; `status.problems` has more of them.
const NAMED: usize = 5;

/// The status after a reconcile, whatever came of it.
pub fn derive_status(dataset: &Dataset, outcome: &Result<Applied, Error>, now: Timestamp) -> DatasetStatus {
    let old = dataset.status.clone().unwrap_or_default();
    match outcome {
        Ok(applied) => planned(dataset, old, applied, now),
        Err(error) => failed(dataset, old, error, now),
    }
}

/// How things stand, for the three conditions.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Standing {
    Ready,
    /// Waits for a person, and nothing is wrong.
    Resting,
    Working,
    Stuck,
}

fn planned(dataset: &Dataset, old: DatasetStatus, applied: &Applied, now: Timestamp) -> DatasetStatus {
    let mut status = match &applied.plan {
        Plan::Store { checked, .. } => with_counts(old.clone(), checked, &applied.items_hash),
        Plan::NoItems => without_counts(old.clone(), dataset),
        Plan::Disabled | Plan::Done | Plan::Run { .. } | Plan::BackOff { .. } | Plan::Stuck { .. } => {
            old.clone()
        }
    };
    let (standing, reason, message) = describe(applied, &status);
    let why = (reason.as_str(), message.as_str());
    let mut conditions = Conditions::new(&old.conditions, dataset.metadata.generation, now);
    conditions.set(READY, standing == Standing::Ready, why.0, why.1);
    conditions.flag(RECONCILING, (standing == Standing::Working).then_some(why), "Settled");
    conditions.flag(STALLED, (standing == Standing::Stuck).then_some(why), "NotStalled");
    status.conditions = conditions.finish();
    status.observed_generation = dataset.metadata.generation;
    status.last_failure = failure(&applied.plan)
        .map(|found| last_failure(old.last_failure.as_ref(), found, now))
        .or(old.last_failure);
    status.used_by = applied.users.iter().take(MAX_USERS).cloned().collect();
    status
}

fn with_counts(mut status: DatasetStatus, checked: &CheckedDataset, items_hash: &str) -> DatasetStatus {
    let problem = |name: &str, reason: &str| ItemProblem {
        name: name.chars().take(MAX_NAME).collect(),
        reason: reason.to_owned(),
    };
    let named = checked.problems.iter().filter(|found| !found.name.is_empty()).take(MAX_PROBLEMS);
    status.item_count = Some(checked.items);
    status.enabled_count = Some(checked.enabled);
    status.missing_count = Some(checked.missing);
    status.invalid_count = Some(checked.invalid);
    status.duplicate_count = Some(checked.duplicates);
    status.problems = named.map(|found| problem(&found.name, found.reason.as_str())).collect();
    status.report = checked.report.clone();
    status.size_bytes = Some(checked.size_bytes);
    status.items_hash = Some(items_hash.to_owned());
    status
}

/// Nothing has to be read to know how many pictures there are.
fn without_counts(status: DatasetStatus, dataset: &Dataset) -> DatasetStatus {
    DatasetStatus {
        observed_generation: status.observed_generation,
        item_count: Some(u32::try_from(dataset.spec.items.len()).unwrap_or(u32::MAX)),
        enabled_count: Some(0),
        last_failure: status.last_failure,
        ..DatasetStatus::default()
    }
}

fn describe(applied: &Applied, status: &DatasetStatus) -> (Standing, String, String) {
    let (standing, reason, message) = match &applied.plan {
        Plan::Disabled => {
            let message = "spec.state is Disabled: nothing may use the set, and nothing is checked";
            (Standing::Resting, "Disabled", message.to_owned())
        }
        Plan::NoItems => no_items(),
        Plan::Done | Plan::Store { .. } => verdict(status),
        Plan::Run { trouble: Some(trouble), .. } => {
            return (Standing::Working, trouble.reason.clone(), trouble.message.clone());
        }
        // A look at what was found wrong before does not make it right.
        Plan::Run { .. } if status.items_hash.as_ref() == Some(&applied.items_hash) => verdict(status),
        Plan::Run { job, .. } => (Standing::Working, "Checking", format!("Job {job} looks at the pictures")),
        Plan::BackOff { failure, until, .. } => {
            let until = Timestamp::from_second(until.as_second()).unwrap_or(*until);
            let message = format!("{}; the next attempt starts at {until}", failure.message);
            return (Standing::Working, failure.reason.clone(), message);
        }
        Plan::Stuck { failure, job, .. } => {
            let remedy = format!("change the items, or delete Job {job} to have them checked again");
            return (Standing::Stuck, failure.reason.clone(), format!("{}; {remedy}", failure.message));
        }
    };
    (standing, reason.to_owned(), message)
}

fn no_items() -> (Standing, &'static str, String) {
    let message = "no picture is enabled; list some in spec.items, or set spec.manifest";
    (Standing::Stuck, "NoItems", message.to_owned())
}

/// What a check found, as a sentence.
fn verdict(status: &DatasetStatus) -> (Standing, &'static str, String) {
    let count = |count: Option<u32>| count.unwrap_or(0);
    let enabled = count(status.enabled_count);
    if enabled == 0 {
        return no_items();
    }
    let (missing, invalid) = (count(status.missing_count), count(status.invalid_count));
    if missing > 0 {
        let names = named(status, missing, |reason| reason == "Missing");
        let message = format!(
            "{missing} of {enabled} pictures are not in the object store: {names}; upload them, or set their state to \
             Disabled; they are looked for again from time to time"
        );
        return (Standing::Working, "ItemsMissing", message);
    }
    if invalid > 0 {
        let names = named(status, invalid, |reason| !matches!(reason, "Missing" | "Duplicate"));
        let message = format!(
            "{invalid} of {enabled} pictures are of no use for training: {names}; replace them, or set their state to \
             Disabled"
        );
        return (Standing::Stuck, "ItemsInvalid", message);
    }
    let duplicates = match count(status.duplicate_count) {
        0 => String::new(),
        count => format!("; {count} of them have the bytes of another, of which training takes one"),
    };
    let bytes = human(status.size_bytes.unwrap_or(0));
    (Standing::Ready, "Checked", format!("{enabled} pictures, {bytes}{duplicates}"))
}

/// The first of the pictures with such a problem, out of `count`.
fn named(status: &DatasetStatus, count: u32, counts: impl Fn(&str) -> bool) -> String {
    let such = status.problems.iter().filter(|problem| counts(&problem.reason));
    let named: Vec<String> = such.take(NAMED).map(|p| format!("{} ({})", p.name, p.reason)).collect();
    let rest = usize::try_from(count).unwrap_or(usize::MAX).saturating_sub(named.len());
    match (named.len(), rest) {
        (0, _) => "see status.report".to_owned(),
        (_, 0) => named.join(", "),
        (_, more) => format!("{} and {more} more", named.join(", ")),
    }
}

/// Bytes as people read them: `2.1 MiB`.
fn human(bytes: u64) -> String {
    const UNITS: [&str; 5] = ["KiB", "MiB", "GiB", "TiB", "PiB"];
    let (mut tenths, mut unit) = (bytes.saturating_mul(10), "bytes");
    for next in UNITS {
        if tenths < 10_240 {
            break;
        }
        (tenths, unit) = (tenths.div_ceil(1024), next);
    }
    match unit {
        "bytes" => format!("{bytes} bytes"),
        _ => format!("{}.{} {unit}", tenths / 10, tenths % 10),
    }
}

fn failure(plan: &Plan) -> Option<&PodFailure> {
    match plan {
        Plan::Run { trouble, .. } => trouble.as_ref(),
        Plan::BackOff { failure, .. } | Plan::Stuck { failure, .. } => Some(failure),
        Plan::Disabled | Plan::NoItems | Plan::Done | Plan::Store { .. } => None,
    }
}

/// The status after a reconcile that failed: what was known stays, as nothing new was seen.
fn failed(dataset: &Dataset, old: DatasetStatus, error: &Error, now: Timestamp) -> DatasetStatus {
    let (reason, message) = (error.reason(), error.message());
    let was_ready = find(&old.conditions, READY).filter(|ready| {
        ready.status == "True"
            && ready.observed_generation == dataset.metadata.generation
            && error.retriable()
    });
    let why = (reason, message.as_str());
    let mut made = Conditions::new(&old.conditions, dataset.metadata.generation, now);
    match was_ready {
        Some(_) => made.keep(READY),
        None => made.set(READY, false, reason, &message),
    };
    made.flag(RECONCILING, error.retriable().then_some(why), "Settled");
    made.flag(STALLED, (!error.retriable()).then_some(why), "NotStalled");
    let conditions: Vec<Condition> = made.finish();
    let last_failure = match error.is_wait() {
        true => old.last_failure.clone(),
        false => Some(last_failure(old.last_failure.as_ref(), &failure_of(error), now)),
    };
    DatasetStatus { observed_generation: dataset.metadata.generation, conditions, last_failure, ..old }
}

#[cfg(test)]
mod tests {
    use easel_protocol::dataset::{Problem, ProblemReason};

    use super::*;
    use crate::dataset::build::testing::dataset;

    fn told(checked: CheckedDataset) -> (String, String) {
        let plan = Plan::Store { job: "j".into(), round: 1, checked, again: None };
        let applied = Applied { plan, items_hash: "h".into(), users: Vec::new() };
        let status = derive_status(&dataset("{items: [{name: a.png}]}"), &Ok(applied), Timestamp::UNIX_EPOCH);
        let states: Vec<String> =
            status.conditions.iter().map(|c| format!("{}={}", c.type_, c.status)).collect();
        let ready = find(&status.conditions, READY).unwrap();
        (format!("{} {}", ready.reason, states.join(" ")), ready.message.clone())
    }

    #[test]
    fn what_was_found_is_said_with_names_and_a_remedy() {
        let problem = |name: String, reason| Problem { name, reason };
        let fine = CheckedDataset { items: 17, enabled: 16, size_bytes: 2_200_000, ..Default::default() };
        let missing = CheckedDataset {
            missing: 7,
            invalid: 1,
            problems: (0..7).map(|n| problem(format!("{n}.png"), ProblemReason::Missing)).collect(),
            ..fine.clone()
        };
        let invalid = CheckedDataset {
            invalid: 1,
            problems: vec![
                problem("x.png".into(), ProblemReason::Unreadable),
                problem("y.png".into(), ProblemReason::Duplicate),
            ],
            ..fine.clone()
        };
        let ready = "Ready=True Reconciling=False Stalled=False";
        let waits = "Ready=False Reconciling=True Stalled=False";
        let stuck = "Ready=False Reconciling=False Stalled=True";
        let cases = [
            (fine.clone(), format!("Checked {ready}"), "16 pictures, 2.1 MiB"),
            (
                CheckedDataset { duplicates: 2, ..fine.clone() },
                format!("Checked {ready}"),
                "16 pictures, 2.1 MiB; 2 of them have the bytes of another, of which training takes one",
            ),
            (
                missing,
                format!("ItemsMissing {waits}"),
                "7 of 16 pictures are not in the object store: 0.png (Missing), 1.png (Missing), 2.png (Missing), \
                 3.png (Missing), 4.png (Missing) and 2 more; upload them, or set their state to Disabled; they are \
                 looked for again from time to time",
            ),
            (
                invalid,
                format!("ItemsInvalid {stuck}"),
                "1 of 16 pictures are of no use for training: x.png (Unreadable); replace them, or set their state to \
                 Disabled",
            ),
            (
                CheckedDataset::default(),
                format!("NoItems {stuck}"),
                "no picture is enabled; list some in spec.items, or set spec.manifest",
            ),
        ];
        for (checked, want, message) in cases {
            assert_eq!(told(checked), (want, message.to_owned()));
        }
    }

    #[test]
    fn bytes_are_told_in_the_unit_that_people_read() {
        for (bytes, want) in [(0, "0 bytes"), (1023, "1023 bytes"), (1024, "1.0 KiB"), (5 << 30, "5.0 GiB")] {
            assert_eq!(human(bytes), want);
        }
        assert!(human(u64::MAX).ends_with("PiB"));
    }
}
