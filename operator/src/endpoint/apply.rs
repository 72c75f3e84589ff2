//! Writes an Endpoint's children.

use easel_crds::Model;
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::Pod;

use super::{Built, References};
use crate::children::{Owner, apply as apply_one, prune};
use crate::context::Ctx;
use crate::error::Error;

/// What the status is derived from: the Deployment as it is now, and what was read.
#[derive(Clone, Debug)]
pub struct Applied {
    pub deployment: Deployment,
    pub pods: Vec<Pod>,
    pub models: Vec<(String, Option<Model>)>,
}

/// Applies every child, then deletes those of ours that were not applied. A crash in the middle leaves a
/// prefix of the list, which the next run completes.
///
/// # Errors
/// The first child that cannot be written, or whose name belongs to something else.
pub async fn apply(ctx: &Ctx, owner: &Owner, refs: References, built: Built) -> Result<Applied, Error> {
    let Built { service_account, network_policy, service, disruption_budget, deployment } = built;
    let (client, cache) = (&ctx.client, &ctx.applied);
    // Pods need their ServiceAccount and must never run outside their policy: so the Deployment is last.
    apply_one(client, cache, owner, &refs.service_accounts, service_account).await?;
    apply_one(client, cache, owner, &refs.network_policies, network_policy).await?;
    apply_one(client, cache, owner, &refs.services, service).await?;
    apply_one(client, cache, owner, &refs.disruption_budgets, disruption_budget).await?;
    let deployment = apply_one(client, cache, owner, &refs.deployments, deployment).await?;

    let name = owner.child_name();
    let keep = [name.as_str()];
    prune(client, cache, owner, &refs.deployments, &keep).await?;
    prune(client, cache, owner, &refs.disruption_budgets, &keep).await?;
    prune(client, cache, owner, &refs.services, &keep).await?;
    prune(client, cache, owner, &refs.network_policies, &keep).await?;
    prune(client, cache, owner, &refs.service_accounts, &keep).await?;
    Ok(Applied { deployment, pods: refs.pods, models: refs.models })
}
