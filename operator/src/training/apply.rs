//! Writes what a TrainingJob makes.

use easel_crds::Model;
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::jiff::Timestamp;
use kube::ResourceExt;
use kube::api::{Api, Patch, PatchParams, PostParams};
use serde_json::json;

use super::{Built, Plan, References, ValidTraining};
use crate::children::{apply as apply_one, prune};
use crate::context::Ctx;
use crate::error::Error;
use crate::labels::{ATTEMPTS_BEFORE, FIELD_MANAGER, QUEUE_NAME};

/// What the status is derived from: the decision that was carried out, and what the Job tells.
#[derive(Clone, Debug)]
pub struct Applied {
    pub plan: Plan,
    /// Name of the Model that is to come out.
    pub output: String,
    /// Attempts by now, if there is a Job.
    pub attempts: Option<u32>,
    pub started: Option<Timestamp>,
}

/// Applies the ServiceAccount, the NetworkPolicy and the Job of the plan, makes the Model, then deletes all other Jobs of
/// ours. The result of a Job that succeeded is in the status before a later run deletes the Job.
///
/// # Errors
/// The first object that cannot be written, or whose name belongs to something else.
pub async fn apply(
    ctx: &Ctx,
    valid: &ValidTraining,
    refs: References,
    plan: Plan,
    built: Built,
) -> Result<Applied, Error> {
    let Built { service_account, network_policy, job, model } = built;
    let (client, cache, owner) = (&ctx.client, &ctx.applied, &valid.owner);
    // Pods need their ServiceAccount and must never run outside their policy: so the Job comes later.
    apply_one(client, cache, owner, &refs.service_accounts, service_account).await?;
    apply_one(client, cache, owner, &refs.network_policies, network_policy).await?;
    let live = plan.job().and_then(|name| refs.jobs.ours(owner).find(|live| live.name_any() == name));
    match (live, job) {
        (Some(live), _) => follow(ctx, live, plan.suspend()).await?,
        (None, Some(job)) => {
            apply_one(client, cache, owner, &refs.jobs, job).await?;
        }
        (None, None) => {}
    }
    if let Some(model) = model {
        make(ctx, &model).await?;
    }
    let keep: Vec<&str> = plan.job().into_iter().collect();
    prune(client, cache, owner, &refs.jobs, &keep).await?;
    let account = owner.child_name();
    prune(client, cache, owner, &refs.network_policies, &[&account]).await?;
    prune(client, cache, owner, &refs.service_accounts, &[&account]).await?;
    let started = live.and_then(|job| job.status.as_ref()?.start_time.as_ref().map(|at| at.0));
    let (attempts, output) = (live.map(attempts), valid.output.model.clone());
    Ok(Applied { plan, output, attempts, started })
}

/// Sets `suspend` of a Job that is there, and nothing else: a template cannot change. Whether a Job with a queue runs is
/// Kueue's to say.
async fn follow(ctx: &Ctx, live: &Job, wanted: Option<bool>) -> Result<(), Error> {
    let Some(wanted) = wanted else { return Ok(()) };
    let held = live.spec.as_ref().and_then(|spec| spec.suspend).unwrap_or(false);
    if held == wanted || live.labels().contains_key(QUEUE_NAME) {
        return Ok(());
    }
    let name = live.name_any();
    let namespace = live.namespace().ok_or(Error::Unstored)?;
    let patch = json!({
        "metadata": {"uid": live.uid(), "resourceVersion": live.resource_version()},
        "spec": {"suspend": wanted},
    });
    let params = PatchParams { field_manager: Some(FIELD_MANAGER.to_owned()), ..PatchParams::default() };
    let api = Api::<Job>::namespaced(ctx.client.clone(), &namespace);
    match api.patch(&name, &params, &Patch::Merge(patch)).await {
        Ok(_) => Ok(()),
        Err(source) => Err(Error::Apply { what: format!("suspend of Job {name}"), source: source.into() }),
    }
}

/// Makes the Model; one that appeared meanwhile is judged at the next look.
async fn make(ctx: &Ctx, model: &Model) -> Result<(), Error> {
    let namespace = model.namespace().ok_or(Error::Unstored)?;
    let params = PostParams { field_manager: Some(FIELD_MANAGER.to_owned()), ..PostParams::default() };
    match Api::<Model>::namespaced(ctx.client.clone(), &namespace).create(&params, model).await {
        Ok(_) => Ok(()),
        Err(kube::Error::Api(status)) if status.code == 409 => Ok(()),
        Err(source) => {
            Err(Error::Apply { what: format!("Model {}", model.name_any()), source: source.into() })
        }
    }
}

/// Attempts before the Job and pods of it.
fn attempts(job: &Job) -> u32 {
    let before = job.annotations().get(ATTEMPTS_BEFORE).and_then(|count| count.parse().ok()).unwrap_or(0u32);
    let status = job.status.clone().unwrap_or_default();
    let pods = [status.failed, status.active, status.succeeded].into_iter().flatten();
    pods.fold(before, |sum, pods| sum.saturating_add(u32::try_from(pods).unwrap_or(0)))
}
