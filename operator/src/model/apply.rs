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

/// Applies the ServiceAccount, the work volume and the Job of the plan, then deletes all other Jobs and volumes of ours.
/// The result of a Job that succeeded is in the status before a later run deletes the Job. A volume that a pod still
/// uses goes when the pod does: Kubernetes sees to that.
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
    let Built { service_account, work_volume, job } = built;
    let (client, cache, owner) = (&ctx.client, &ctx.applied, &valid.owner);
    // The Job's pods need their ServiceAccount.
    apply_one(client, cache, owner, &refs.service_accounts, service_account).await?;
    if let Some(volume) = work_volume {
        // What a claim asks for cannot change; one that was made under other settings serves to its end.
        let lives = refs.work_volumes.ours(owner).any(|live| live.name_any() == volume.name_any());
        if !lives {
            apply_one(client, cache, owner, &refs.work_volumes, volume).await?;
        }
    }
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
    let volume = plan.goes_on().then(|| valid.work_volume_name());
    let keep: Vec<&str> = volume.as_deref().into_iter().collect();
    prune(client, cache, owner, &refs.work_volumes, &keep).await?;
    let account = owner.child_name();
    prune(client, cache, owner, &refs.service_accounts, &[&account]).await?;
    Ok(Applied { plan, source_hash: valid.source_hash.clone(), users: refs.users, failed_pods })
}
