//! Writes a Model's children.

use easel_crds::common::KindRef;
use kube::ResourceExt;

use super::{Built, Plan, References, ValidModel};
use crate::children::{apply as apply_one, prune};
use crate::context::Ctx;
use crate::error::Error;

/// What the status is derived from: the decision that was carried out, and what was read.
#[derive(Clone, Debug)]
pub struct Applied {
    pub plan: Plan,
    pub source_hash: String,
    pub users: Vec<KindRef>,
    /// Pods of the kept Job that failed so far.
    pub failed_pods: u32,
}

/// Applies the ServiceAccount and the Job of the plan, then deletes all other Jobs of ours. The result of a
/// Job that succeeded is in the status before a later run deletes the Job.
///
/// # Errors
/// The first child that cannot be written, or whose name belongs to something else.
pub async fn apply(
    ctx: &Ctx,
    valid: &ValidModel,
    refs: References,
    plan: Plan,
    built: Built,
) -> Result<Applied, Error> {
    let Built { service_account, job } = built;
    let (client, cache, owner) = (&ctx.client, &ctx.applied, &valid.owner);
    // The Job's pods need their ServiceAccount.
    apply_one(client, cache, owner, &refs.service_accounts, service_account).await?;
    let mut failed_pods = 0;
    if let Some(job) = job {
        let name = job.name_any();
        let live = refs.jobs.ours(owner).find(|live| live.name_any() == name);
        match live {
            Some(live) => {
                let failed = live.status.as_ref().and_then(|status| status.failed).unwrap_or(0);
                failed_pods = u32::try_from(failed).unwrap_or(0);
            }
            None => {
                apply_one(client, cache, owner, &refs.jobs, job).await?;
            }
        }
    }
    let keep: Vec<&str> = plan.job().map(|(name, _)| name).into_iter().collect();
    prune(client, cache, owner, &refs.jobs, &keep).await?;
    let account = owner.child_name();
    prune(client, cache, owner, &refs.service_accounts, &[&account]).await?;
    Ok(Applied { plan, source_hash: valid.source_hash.clone(), users: refs.users, failed_pods })
}
