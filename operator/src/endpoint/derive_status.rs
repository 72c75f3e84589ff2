//! An Endpoint's status from what was applied and observed. Pure: time is an argument.

use easel_crds::common::condition::{AVAILABLE, MODELS_READY};
use easel_crds::endpoint::ModelVersion;
use easel_crds::{Condition, Endpoint, EndpointStatus, Model};
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::jiff::Timestamp;
use kube::ResourceExt;

use super::Applied;
use crate::conditions::{Conditions, READY, RECONCILING, STALLED, find, is_true};
use crate::error::Error;
use crate::labels::{Component, TEMPLATE_HASH};
use crate::objects::{failure_of, last_failure};
use crate::pods::{PodFailure, current_failure};

/// The status after a reconcile, whatever came of it.
pub fn derive_status(
    endpoint: &Endpoint,
    outcome: &Result<Applied, Error>,
    now: Timestamp,
) -> EndpointStatus {
    let old = endpoint.status.clone().unwrap_or_default();
    match outcome {
        Ok(applied) => observed(endpoint, &old, applied, now),
        Err(error) => failed(endpoint, &old, error, now),
    }
}

/// What the checks look at.
struct Facts {
    suspended: bool,
    desired: i32,
    ready: i32,
    /// The Deployment's controller has seen the current spec, and only pods of it are left.
    rolled_out: bool,
    failure: Option<PodFailure>,
    models: (bool, &'static str, String),
}

type Check = fn(&Facts) -> Option<(String, String)>;

/// Why the Endpoint is not Ready, most telling first.
const CHECKS: &[Check] =
    &[is_suspended, has_no_pods, pods_fail, models_are_missing, is_rolling_out, pods_start];

fn is_suspended(facts: &Facts) -> Option<(String, String)> {
    facts.suspended.then(|| ("Suspended".into(), "spec.suspend is set: no worker runs, jobs wait".into()))
}

fn has_no_pods(facts: &Facts) -> Option<(String, String)> {
    (facts.desired == 0).then(|| ("ScaledToZero".into(), "no worker is asked for".into()))
}

fn pods_fail(facts: &Facts) -> Option<(String, String)> {
    let complete = facts.rolled_out && facts.ready >= facts.desired;
    facts.failure.as_ref().filter(|_| !complete).map(|f| (f.reason.clone(), f.message.clone()))
}

fn models_are_missing(facts: &Facts) -> Option<(String, String)> {
    let (all_ready, reason, message) = &facts.models;
    (!all_ready).then(|| ((*reason).to_owned(), message.clone()))
}

fn is_rolling_out(facts: &Facts) -> Option<(String, String)> {
    (!facts.rolled_out).then(|| ("RollingOut".into(), "workers are being replaced or started".into()))
}

fn pods_start(facts: &Facts) -> Option<(String, String)> {
    let message = || format!("{} of {} workers are ready", facts.ready, facts.desired);
    (facts.ready < facts.desired).then(|| ("WorkersNotReady".into(), message()))
}

fn observed(endpoint: &Endpoint, old: &EndpointStatus, applied: &Applied, now: Timestamp) -> EndpointStatus {
    let status = applied.deployment.status.clone().unwrap_or_default();
    let ready = status.ready_replicas.unwrap_or(0);
    let facts = Facts {
        suspended: endpoint.spec.suspend,
        desired: applied.deployment.spec.as_ref().and_then(|spec| spec.replicas).unwrap_or(0),
        ready,
        rolled_out: is_rolled_out(&applied.deployment),
        failure: failure(&applied.deployment, &applied.pods),
        models: models_ready(&applied.models),
    };
    let why = CHECKS.iter().find_map(|check| check(&facts));
    let (is_ready, (reason, message)) = match why {
        Some(why) => (false, why),
        None => (true, ("Ready".into(), format!("{ready} of {} workers are ready", facts.desired))),
    };
    let stuck = facts.failure.as_ref().filter(|f| !f.retriable && f.reason == reason);
    let resting = is_ready || facts.desired == 0 || stuck.is_some();

    let mut conditions = Conditions::new(&old.conditions, endpoint.metadata.generation, now);
    conditions.set(READY, is_ready, &reason, &message);
    let (models_ready, models_reason, models_message) = &facts.models;
    conditions.set(MODELS_READY, *models_ready, models_reason, models_message);
    let available = format!("{ready} workers can take jobs");
    let word = if ready > 0 { "WorkersReady" } else { "NoWorkerReady" };
    conditions.set(AVAILABLE, ready > 0, word, &available);
    let why = (reason.as_str(), message.as_str());
    conditions.flag(RECONCILING, (!resting).then_some(why), "Settled");
    conditions.flag(STALLED, stuck.map(|_| why), "NotStalled");

    let target = target_models(&applied.models);
    let failure = facts.failure.as_ref().filter(|_| !is_ready);
    EndpointStatus {
        observed_generation: endpoint.metadata.generation,
        conditions: conditions.finish(),
        replicas: status.replicas.unwrap_or(0),
        ready_replicas: ready,
        desired_replicas: Some(facts.desired),
        selector: Some(Component::Endpoint.selector_text(&endpoint.name_any())),
        service_name: Some(Component::Endpoint.child_name(&endpoint.name_any())),
        active_models: if is_ready { target.clone() } else { old.active_models.clone() },
        target_models: target,
        last_failure: failure
            .map(|f| last_failure(old.last_failure.as_ref(), f, now))
            .or_else(|| old.last_failure.clone()),
        queue: None,
        scaling_history: Vec::new(),
        performance: None,
        models: Vec::new(),
    }
}

/// The status after a reconcile that failed: what was known stays, as nothing new was seen.
fn failed(endpoint: &Endpoint, old: &EndpointStatus, error: &Error, now: Timestamp) -> EndpointStatus {
    let (reason, message) = (error.reason(), error.message());
    let stuck = !error.retriable();
    let was_ready = find(&old.conditions, READY).filter(|ready| {
        ready.status == "True" && ready.observed_generation == endpoint.metadata.generation && !stuck
    });
    let mut conditions = Conditions::new(&old.conditions, endpoint.metadata.generation, now);
    match was_ready {
        Some(ready) => conditions.set(READY, true, &ready.reason, &ready.message),
        None => conditions.set(READY, false, reason, &message),
    };
    let why = (reason, message.as_str());
    conditions.flag(RECONCILING, (!stuck).then_some(why), "Settled");
    conditions.flag(STALLED, stuck.then_some(why), "NotStalled");
    let mut made = conditions.finish();
    let kept = |type_: &str| find(&old.conditions, type_).cloned();
    let kept: Vec<Condition> = [MODELS_READY, AVAILABLE].into_iter().filter_map(kept).collect();
    made.splice(1..1, kept);
    let last_failure = match error.is_wait() {
        true => old.last_failure.clone(),
        false => Some(last_failure(old.last_failure.as_ref(), &failure_of(error), now)),
    };
    EndpointStatus {
        observed_generation: endpoint.metadata.generation,
        conditions: made,
        last_failure,
        queue: None,
        scaling_history: Vec::new(),
        performance: None,
        models: Vec::new(),
        ..old.clone()
    }
}

fn is_rolled_out(deployment: &Deployment) -> bool {
    let Some(status) = &deployment.status else { return false };
    let desired = deployment.spec.as_ref().and_then(|spec| spec.replicas).unwrap_or(0);
    let seen = status.observed_generation >= deployment.metadata.generation;
    let updated = status.updated_replicas.unwrap_or(0) >= desired;
    seen && updated && status.replicas.unwrap_or(0) <= status.updated_replicas.unwrap_or(0)
}

/// What keeps pods of the current template from working; what keeps pods from being made at all; and, if
/// neither says anything, that the Deployment's patience is over.
fn failure(deployment: &Deployment, pods: &[Pod]) -> Option<PodFailure> {
    let template = deployment.spec.as_ref().and_then(|spec| spec.template.metadata.as_ref());
    let current = template.and_then(|meta| meta.annotations.as_ref()?.get(TEMPLATE_HASH));
    let of_current = pods.iter().filter(|pod| pod.annotations().get(TEMPLATE_HASH) == current);
    current_failure(of_current).or_else(|| deployment_failure(deployment))
}

fn deployment_failure(deployment: &Deployment) -> Option<PodFailure> {
    const FACTS: [(&str, &str, &str, &str); 2] = [
        ("ReplicaFailure", "True", "PodsRefused", "pods cannot be made"),
        ("Progressing", "False", "ProgressDeadlineExceeded", "the roll-out makes no progress"),
    ];
    let conditions = deployment.status.as_ref()?.conditions.as_deref()?;
    FACTS.iter().find_map(|(type_, status, reason, text)| {
        let found = conditions.iter().find(|c| c.type_ == *type_ && c.status == *status)?;
        Some(PodFailure {
            reason: (*reason).to_owned(),
            message: format!("{text}: {}", found.message.as_deref().unwrap_or("no message was given")),
            retriable: true,
            time: found.last_transition_time.as_ref().map(|at| at.0),
            pod: String::new(),
            exit_code: None,
        })
    })
}

/// Are all listed Models Ready? With a reason, and a message that names the first that is not.
fn models_ready(models: &[(String, Option<Model>)]) -> (bool, &'static str, String) {
    let missing = models.iter().find(|(_, model)| model.is_none());
    if let Some((name, _)) = missing {
        return (false, "ModelNotFound", format!("Model {name} does not exist in this namespace"));
    }
    let waiting = models.iter().find_map(|(name, model)| {
        let conditions =
            model.as_ref().and_then(|m| m.status.as_ref()).map(|status| status.conditions.as_slice());
        let conditions = conditions.unwrap_or_default();
        let said = || match find(conditions, READY) {
            Some(ready) => format!("Model {name} is not ready: {}: {}", ready.reason, ready.message),
            None => format!("Model {name} is not ready: it was not looked at yet"),
        };
        (!is_true(conditions, READY)).then(said)
    });
    match waiting {
        Some(message) => (false, "ModelNotReady", message),
        None => (true, "ModelsReady", format!("{} listed Models are ready", models.len())),
    }
}

fn target_models(models: &[(String, Option<Model>)]) -> Vec<ModelVersion> {
    let version = |(name, model): &(String, Option<Model>)| {
        let status = model.as_ref()?.status.as_ref().filter(|s| is_true(&s.conditions, READY))?;
        Some(ModelVersion { name: name.clone(), sha256: status.files.first()?.sha256.clone() })
    };
    models.iter().filter_map(version).collect()
}

#[cfg(test)]
mod tests;
