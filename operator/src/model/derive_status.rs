//! A Model's status from what was decided and observed. Pure: time is an argument.

use easel_crds::common::KindRef;
use easel_crds::model::{ImportStatus, Network, StoredFile, Thumbnail};
use easel_crds::{LastFailure, Model, ModelStatus};
use easel_protocol::import::{ImportedModel, weights_key};
use k8s_openapi::jiff::Timestamp;
use kube::ResourceExt;

use super::{Applied, Plan};
use crate::conditions::{Conditions, READY, RECONCILING, STALLED, find};
use crate::error::Error;
use crate::objects::{failure_of, last_failure};
use crate::pods::PodFailure;

/// Reason of a Model that is to be deleted and still used.
pub const IN_USE: &str = "InUse";
/// The API keeps no more; a user that is left out still uses the Model.
const MAX_USERS: usize = 32;
/// Trigger words that the API keeps, and characters of one.
const MAX_WORDS: usize = 64;
const MAX_WORD: usize = 256;
/// Pods that a round may have before it is a failed one: the Job's first and its repetitions.
const PODS_PER_ROUND: u32 = 4;

/// The status after a reconcile, whatever came of it.
pub fn derive_status(model: &Model, outcome: &Result<Applied, Error>, now: Timestamp) -> ModelStatus {
    let old = model.status.clone().unwrap_or_default();
    match outcome {
        Ok(applied) => planned(model, old, applied, now),
        Err(error) => failed(model, old, error, now),
    }
}

/// How things stand, for the three conditions.
enum Standing {
    Ready,
    /// Waits for a person, and nothing is wrong.
    Resting,
    Working,
    Stuck,
}

fn planned(model: &Model, old: ModelStatus, applied: &Applied, now: Timestamp) -> ModelStatus {
    let mut status = match &applied.plan {
        Plan::Store { imported, .. } => with_files(old.clone(), imported, &applied.source_hash),
        _ => old.clone(),
    };
    let (standing, reason, message) = describe(&model.name_any(), &applied.plan, &status);
    status.observed_generation = model.metadata.generation;
    status.conditions = conditions(model, &old, &standing, (&reason, &message), now);
    status.import = import(&applied.plan, applied.failed_pods, old.import.as_ref());
    status.last_failure = failure(&applied.plan)
        .map(|found| last_failure(old.last_failure.as_ref(), found, now))
        .or(old.last_failure);
    status.used_by = applied.users.iter().take(MAX_USERS).cloned().collect();
    status
}

fn with_files(mut status: ModelStatus, imported: &ImportedModel, source_hash: &str) -> ModelStatus {
    let files = imported.files.iter().map(|file| StoredFile {
        name: file.name.clone(),
        key: file.key.clone(),
        sha256: file.sha256.clone(),
        size_bytes: file.size_bytes,
    });
    status.files = files.collect();
    status.size_bytes = Some(status.files.iter().fold(0, |sum, file| sum.saturating_add(file.size_bytes)));
    status.family = Some(imported.family.clone());
    status.prediction_type = imported.prediction_type.clone();
    status.precision = imported.precision.clone();
    status.trigger_words = words(&imported.trigger_words);
    status.base_model = imported.base_model.as_ref().map(|text| text.chars().take(MAX_WORD).collect());
    status.network =
        imported.network.as_ref().map(|found| Network { kind: found.kind.clone(), rank: found.rank });
    status.thumbnail = imported.thumbnail.as_ref().map(|picture| Thumbnail {
        key: weights_key(&picture.sha256),
        sha256: picture.sha256.clone(),
        media_type: picture.media_type.clone(),
        size_bytes: picture.size_bytes,
    });
    status.source_hash = Some(source_hash.to_owned());
    status
}

/// As many as the API keeps, each once: it takes no list with a word twice or with an endless one.
fn words(found: &[String]) -> Vec<String> {
    let mut words: Vec<String> = Vec::new();
    for word in found.iter().filter(|word| (1..=MAX_WORD).contains(&word.chars().count())) {
        if words.len() < MAX_WORDS && !words.contains(word) {
            words.push(word.clone());
        }
    }
    words
}

fn describe(name: &str, plan: &Plan, status: &ModelStatus) -> (Standing, String, String) {
    let (standing, reason, message) = match plan {
        Plan::Done | Plan::Store { .. } => {
            let family = status.family.as_deref().unwrap_or("unknown");
            let bytes = status.size_bytes.unwrap_or(0);
            let message = format!("{} files, {bytes} bytes, family {family}", status.files.len());
            (Standing::Ready, "Imported", message)
        }
        Plan::WaitForUpload => {
            let message = format!(
                "send the files to the facade: POST /easel/v1/models/{name}/uploads, or one file with PUT \
                 /easel/v1/models/{name}/files/FILE"
            );
            (Standing::Working, "WaitingForUpload", message)
        }
        Plan::WaitForModels(what) => {
            return (
                Standing::Working,
                "WaitingForModels".to_owned(),
                format!("cannot be merged yet: {what}"),
            );
        }
        Plan::WaitForTraining(why) => {
            let message = format!("cannot be imported yet: {why}");
            return (Standing::Working, "WaitingForTraining".to_owned(), message);
        }
        Plan::Suspended => {
            (Standing::Resting, "Suspended", "spec.suspend is set: nothing is imported".to_owned())
        }
        Plan::Run { trouble: Some(trouble), .. } => {
            return (Standing::Working, trouble.reason.clone(), trouble.message.clone());
        }
        Plan::Run { job, .. } => (Standing::Working, "Importing", format!("Job {job} imports the files")),
        Plan::BackOff { failure, until, .. } => {
            let until = Timestamp::from_second(until.as_second()).unwrap_or(*until);
            let message = format!("{}; the next attempt starts at {until}", failure.message);
            return (Standing::Working, failure.reason.clone(), message);
        }
        Plan::Stuck { failure, job, .. } => {
            let remedy = format!("change the source, or delete Job {job} to have it tried again");
            let message = format!("{}; {remedy}", failure.message);
            return (Standing::Stuck, failure.reason.clone(), message);
        }
    };
    (standing, reason.to_owned(), message)
}

fn conditions(
    model: &Model,
    old: &ModelStatus,
    standing: &Standing,
    why: (&str, &str),
    now: Timestamp,
) -> Vec<easel_crds::Condition> {
    let mut conditions = Conditions::new(&old.conditions, model.metadata.generation, now);
    conditions.set(READY, matches!(standing, Standing::Ready), why.0, why.1);
    conditions.flag(RECONCILING, matches!(standing, Standing::Working).then_some(why), "Settled");
    conditions.flag(STALLED, matches!(standing, Standing::Stuck).then_some(why), "NotStalled");
    conditions.finish()
}

fn import(plan: &Plan, failed_pods: u32, old: Option<&ImportStatus>) -> Option<ImportStatus> {
    let (job, attempts) = match plan.job() {
        Some((job, round)) => {
            let before = round.saturating_sub(1).saturating_mul(PODS_PER_ROUND);
            let running = u32::from(matches!(plan, Plan::Run { .. } | Plan::Store { .. }));
            (Some(job.to_owned()), Some(before.saturating_add(failed_pods).saturating_add(running)))
        }
        // What was counted for the finished import stays to be read.
        None => (old.and_then(|old| old.job.clone()), old.and_then(|old| old.attempts)),
    };
    let import = ImportStatus { job, attempts, ..ImportStatus::default() };
    (import != ImportStatus::default()).then_some(import)
}

fn failure(plan: &Plan) -> Option<&PodFailure> {
    match plan {
        Plan::Run { trouble, .. } => trouble.as_ref(),
        Plan::BackOff { failure, .. } | Plan::Stuck { failure, .. } => Some(failure),
        Plan::Done | Plan::WaitForUpload | Plan::WaitForModels(_) | Plan::WaitForTraining(_) => None,
        Plan::Suspended | Plan::Store { .. } => None,
    }
}

/// The status of a Model whose deletion waits for its users. It stays Ready if it was: they go on using it.
pub fn waiting(model: &Model, users: Vec<KindRef>, message: &str, now: Timestamp) -> ModelStatus {
    let old = model.status.clone().unwrap_or_default();
    let mut conditions = Conditions::new(&old.conditions, model.metadata.generation, now);
    match find(&old.conditions, READY) {
        Some(ready) => conditions.set(READY, ready.status == "True", &ready.reason, &ready.message),
        None => conditions.set(READY, false, IN_USE, message),
    };
    conditions.flag(RECONCILING, Some((IN_USE, message)), "Settled");
    conditions.flag(STALLED, None, "NotStalled");
    let conditions = conditions.finish();
    let used_by = users.into_iter().take(MAX_USERS).collect();
    let import = import(&Plan::Suspended, 0, old.import.as_ref());
    ModelStatus { observed_generation: model.metadata.generation, conditions, used_by, import, ..old }
}

/// The status after a reconcile that failed: what was known stays, as nothing new was seen.
fn failed(model: &Model, old: ModelStatus, error: &Error, now: Timestamp) -> ModelStatus {
    let (reason, message) = (error.reason(), error.message());
    let was_ready = find(&old.conditions, READY).filter(|ready| {
        ready.status == "True" && ready.observed_generation == model.metadata.generation && error.retriable()
    });
    let why = (reason, message.as_str());
    let mut conditions = Conditions::new(&old.conditions, model.metadata.generation, now);
    match was_ready {
        Some(ready) => conditions.set(READY, true, &ready.reason, &ready.message),
        None => conditions.set(READY, false, reason, &message),
    };
    conditions.flag(RECONCILING, error.retriable().then_some(why), "Settled");
    conditions.flag(STALLED, (!error.retriable()).then_some(why), "NotStalled");
    let conditions = conditions.finish();
    let last_failure: Option<LastFailure> = match error.is_wait() {
        true => old.last_failure.clone(),
        false => Some(last_failure(old.last_failure.as_ref(), &failure_of(error), now)),
    };
    let import = import(&Plan::Suspended, 0, old.import.as_ref());
    ModelStatus { observed_generation: model.metadata.generation, conditions, last_failure, import, ..old }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_kept_once_and_within_the_apis_bounds() {
        let long = "w".repeat(257);
        let mut found: Vec<String> = ["zorb", "", "zorb", &long].map(str::to_owned).into();
        found.extend((0..70).map(|n| n.to_string()));
        let kept = words(&found);
        assert_eq!((kept.len(), kept[0].as_str(), kept[1].as_str()), (64, "zorb", "0"));
    }
}
