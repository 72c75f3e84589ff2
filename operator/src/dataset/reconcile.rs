//! One look at a Dataset.

use std::sync::Arc;

use easel_crds::Dataset;
use k8s_openapi::jiff::Timestamp;
use kube::runtime::controller::Action;

use super::apply::{Applied, apply};
use super::build::build;
use super::dereference::dereference;
use super::derive_status::derive_status;
use super::plan::plan;
use super::update_status::update_status;
use super::validate::validate;
use crate::context::Ctx;
use crate::error::Error;
use crate::objects::fresh;

/// Looks, acts, and says in the status what came of it. Any run may be the first after a crash.
///
/// # Errors
/// What failed, after it was written to the status.
pub async fn reconcile(trigger: Arc<Dataset>, ctx: Arc<Ctx>) -> Result<Action, Error> {
    reconcile_at(trigger, ctx, Timestamp::now()).await
}

/// [`reconcile`] at a given time.
///
/// # Errors
/// As [`reconcile`].
pub async fn reconcile_at(trigger: Arc<Dataset>, ctx: Arc<Ctx>, now: Timestamp) -> Result<Action, Error> {
    let Some(dataset) = fresh(&ctx.client, &*trigger).await? else { return Ok(Action::await_change()) };
    // The garbage collector takes the children; making new ones would race with it.
    if dataset.metadata.deletion_timestamp.is_some() {
        return Ok(Action::await_change());
    }
    let outcome = run(&dataset, &ctx, now).await;
    // Also after a failure: `kubectl get` has to say why.
    update_status(&ctx, &dataset, derive_status(&dataset, &outcome, now)).await?;
    Ok(ctx.resync_within(outcome?.plan.wait(now)))
}

async fn run(dataset: &Dataset, ctx: &Ctx, now: Timestamp) -> Result<Applied, Error> {
    let valid = validate(dataset)?;
    let refs = dereference(&valid.owner, &ctx.client).await?;
    let plan = plan(&valid, dataset.status.as_ref(), &refs.jobs, &refs.pods, now);
    let built = build(&valid, &plan, &ctx.settings);
    apply(ctx, &valid, refs, plan, built).await
}
