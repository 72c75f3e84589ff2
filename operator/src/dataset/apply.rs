//! Writes a Dataset's children.

use easel_crds::common::KindRef;
use kube::ResourceExt;

use super::{Built, Plan, References, ValidDataset};
use crate::children::{apply as apply_one, prune};
use crate::context::Ctx;
use crate::error::Error;

/// What the status is derived from: the decision that was carried out, and what was read.
#[derive(Clone, Debug)]
pub struct Applied {
    pub plan: Plan,
    pub items_hash: String,
    pub users: Vec<KindRef>,
}

/// Applies the ServiceAccount, the NetworkPolicy and the Job of the plan, then deletes all other Jobs of ours. What a
/// check found is in the status before a later run deletes its Job.
///
/// # Errors
/// The first child that cannot be written, or whose name belongs to something else.
pub async fn apply(
    ctx: &Ctx,
    valid: &ValidDataset,
    refs: References,
    plan: Plan,
    built: Built,
) -> Result<Applied, Error> {
    let Built { service_account, network_policy, job } = built;
    let (client, cache, owner) = (&ctx.client, &ctx.applied, &valid.owner);
    // Pods need their ServiceAccount and must never run outside their policy: so the Job comes later.
    apply_one(client, cache, owner, &refs.service_accounts, service_account).await?;
    apply_one(client, cache, owner, &refs.network_policies, network_policy).await?;
    if let Some(job) = job {
        let name = job.name_any();
        if !refs.jobs.ours(owner).any(|live| live.name_any() == name) {
            apply_one(client, cache, owner, &refs.jobs, job).await?;
        }
    }
    let keep: Vec<&str> = plan.job().map(|(name, _)| name).into_iter().collect();
    prune(client, cache, owner, &refs.jobs, &keep).await?;
    let account = owner.child_name();
    prune(client, cache, owner, &refs.network_policies, &[&account]).await?;
    prune(client, cache, owner, &refs.service_accounts, &[&account]).await?;
    Ok(Applied { plan, items_hash: valid.items_hash.clone(), users: refs.users })
}
