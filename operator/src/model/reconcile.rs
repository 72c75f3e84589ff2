//! One look at a Model.

use std::sync::Arc;

use easel_crds::Model;
use k8s_openapi::jiff::Timestamp;
use kube::runtime::controller::Action;

use super::apply::{Applied, apply};
use super::build::build;
use super::dereference::dereference;
use super::derive_status::derive_status;
use super::finalizer::{hold, release};
use super::plan::plan;
use super::training::of_training;
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
pub async fn reconcile(trigger: Arc<Model>, ctx: Arc<Ctx>) -> Result<Action, Error> {
    reconcile_at(trigger, ctx, Timestamp::now()).await
}

/// [`reconcile`] at a given time.
///
/// # Errors
/// As [`reconcile`].
pub async fn reconcile_at(trigger: Arc<Model>, ctx: Arc<Ctx>, now: Timestamp) -> Result<Action, Error> {
    let Some(model) = fresh(&ctx.client, &*trigger).await? else { return Ok(Action::await_change()) };
    // The garbage collector takes the children; making new ones would race with it.
    if model.metadata.deletion_timestamp.is_some() {
        return release(&model, &ctx, now).await;
    }
    let outcome = run(&model, &ctx, now).await;
    // Also after a failure: `kubectl get` has to say why.
    update_status(&ctx, &model, derive_status(&model, &outcome, now)).await?;
    Ok(ctx.resync_within(outcome?.plan.wait(now)))
}

async fn run(model: &Model, ctx: &Ctx, now: Timestamp) -> Result<Applied, Error> {
    let owner = Owner::of(model, Component::Import).ok_or(Error::Unstored)?;
    let refs = dereference(model, &owner, ctx).await?;
    // Before the spec is judged: bytes of a former one may be in use.
    hold(&ctx.client, model, !refs.users.is_empty()).await?;
    let valid = of_training(validate(model)?, refs.training.as_ref(), model.status.as_ref());
    let plan = plan(&valid, model.status.as_ref(), &refs.jobs, &refs.pods, &refs.inputs, now)?;
    let built = build(&valid, &plan, &ctx.settings);
    apply(ctx, &valid, refs, plan, built).await
}
