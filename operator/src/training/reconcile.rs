//! One look at a TrainingJob.

use std::sync::Arc;

use easel_crds::TrainingJob;
use k8s_openapi::jiff::Timestamp;
use kube::runtime::controller::Action;

use super::apply::{Applied, apply};
use super::build::{build, template, template_hash};
use super::dereference::dereference;
use super::derive_status::derive_status;
use super::plan::plan;
use super::update_status::update_status;
use super::validate::validate;
use crate::children::Owner;
use crate::context::Ctx;
use crate::error::Error;
use crate::labels::Component;
use crate::objects::fresh;

/// Looks, acts, and says in the status what came of it. Any run may be the first after a crash.
///
/// # Errors
/// What failed, after it was written to the status.
pub async fn reconcile(trigger: Arc<TrainingJob>, ctx: Arc<Ctx>) -> Result<Action, Error> {
    reconcile_at(trigger, ctx, Timestamp::now()).await
}

/// [`reconcile`] at a given time.
///
/// # Errors
/// As [`reconcile`].
pub async fn reconcile_at(trigger: Arc<TrainingJob>, ctx: Arc<Ctx>, now: Timestamp) -> Result<Action, Error> {
    let Some(training) = fresh(&ctx.client, &*trigger).await? else { return Ok(Action::await_change()) };
    // The garbage collector takes the Job and its pods; making new ones would race with it.
    if training.metadata.deletion_timestamp.is_some() {
        return Ok(Action::await_change());
    }
    let outcome = run(&training, &ctx, now).await;
    // Also after a failure: `kubectl get` has to say why.
    update_status(&ctx, &training, derive_status(&training, &outcome, now)).await?;
    Ok(ctx.resync_within(outcome?.plan.wait(now)))
}

async fn run(training: &TrainingJob, ctx: &Ctx, now: Timestamp) -> Result<Applied, Error> {
    let owner = Owner::of(training, Component::Train).ok_or(Error::Unstored)?;
    let refs = dereference(training, &owner, &ctx.client).await?;
    let valid = validate(training, &ctx.settings.catalogue)?;
    let status = training.status.clone().unwrap_or_default();
    let template = template(&valid, &ctx.settings);
    let plan = plan(&valid, &template_hash(&valid, &template), &status, &refs, now)?;
    let built = build(&valid, &plan, template, status.attempts.unwrap_or(0), &ctx.settings);
    apply(ctx, &valid, refs, plan, built).await
}
