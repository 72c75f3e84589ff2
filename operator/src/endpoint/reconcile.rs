//! One look at an Endpoint.

use std::sync::Arc;

use easel_crds::Endpoint;
use k8s_openapi::jiff::Timestamp;
use kube::runtime::controller::Action;

use super::apply::{Applied, apply};
use super::build::build;
use super::dereference::dereference;
use super::derive_status::derive_status;
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
pub async fn reconcile(trigger: Arc<Endpoint>, ctx: Arc<Ctx>) -> Result<Action, Error> {
    let Some(endpoint) = fresh(&ctx.client, &*trigger).await? else { return Ok(Action::await_change()) };
    // The garbage collector takes the children; making new ones would race with it.
    if endpoint.metadata.deletion_timestamp.is_some() {
        return Ok(Action::await_change());
    }
    let outcome = run(&endpoint, &ctx).await;
    // Also after a failure: `kubectl get` has to say why.
    update_status(&ctx, &endpoint, derive_status(&endpoint, &outcome, Timestamp::now())).await?;
    outcome?;
    Ok(ctx.resync())
}

async fn run(endpoint: &Endpoint, ctx: &Ctx) -> Result<Applied, Error> {
    let owner = Owner::of(endpoint, Component::Endpoint).ok_or(Error::Unstored)?;
    let refs = dereference(endpoint, &owner, &ctx.client).await?;
    let valid = validate(endpoint, &ctx.settings.catalogue)?;
    let built = build(&valid, &ctx.settings);
    apply(ctx, &owner, refs, built).await
}
