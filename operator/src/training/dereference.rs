//! Reads what a TrainingJob's reconcile has to know. Only reads, and always from the API server: a cache may be older
//! than what triggered the reconcile.

use easel_crds::common::condition::{COMPLETE, FAILED};
use easel_crds::{Condition, TrainingJob};
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::{Pod, ServiceAccount};
use k8s_openapi::api::networking::v1::NetworkPolicy;
use kube::Client;

use super::inputs::{Inputs, inputs};
use crate::children::{Children, Owner, list};
use crate::conditions::find;
use crate::error::Error;

/// What was found.
#[derive(Clone, Debug)]
pub struct References {
    pub service_accounts: Children<ServiceAccount>,
    pub network_policies: Children<NetworkPolicy>,
    pub jobs: Children<Job>,
    pub pods: Vec<Pod>,
    /// Read only where they decide anything: each step of a running training leads to a look.
    pub inputs: Option<Inputs>,
}

/// Reads all of it.
///
/// # Errors
/// [`Error::Read`].
pub async fn dereference(
    training: &TrainingJob,
    owner: &Owner,
    client: &Client,
) -> Result<References, Error> {
    let (service_accounts, network_policies, jobs) =
        tokio::try_join!(list(client, owner), list(client, owner), list::<Job>(client, owner))?;
    // After the Jobs: a Job that has ended was read, so its pod is read with its last words.
    let pods = list::<Pod>(client, owner).await?;
    let needed = !is_over(training) && !jobs.ours(owner).any(is_under_way);
    let inputs = match needed {
        true => Some(inputs(training, owner, client).await?),
        false => None,
    };
    Ok(References { service_accounts, network_policies, jobs, pods: pods.live, inputs })
}

fn is_over(training: &TrainingJob) -> bool {
    let conditions: &[Condition] = training.status.as_ref().map_or(&[], |status| &status.conditions);
    let holds = |type_| find(conditions, type_).filter(|condition| condition.status == "True");
    holds(COMPLETE).is_some()
        || holds(FAILED).is_some_and(|failed| failed.observed_generation == training.metadata.generation)
}

fn is_under_way(job: &Job) -> bool {
    let conditions = job.status.iter().flat_map(|status| status.conditions.iter().flatten());
    !conditions.into_iter().any(|c| matches!(c.type_.as_str(), "Complete" | "Failed") && c.status == "True")
}
