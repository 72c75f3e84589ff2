//! Reads what a Dataset's reconcile has to know. Only reads, and always from the API server: a cache may be older than
//! what triggered the reconcile.

use easel_crds::common::KindRef;
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::{Pod, ServiceAccount};
use k8s_openapi::api::networking::v1::NetworkPolicy;
use kube::Client;

use super::users::users;
use crate::children::{Children, Owner, list};
use crate::error::Error;

/// What was found.
#[derive(Clone, Debug)]
pub struct References {
    pub service_accounts: Children<ServiceAccount>,
    pub network_policies: Children<NetworkPolicy>,
    pub jobs: Children<Job>,
    pub pods: Vec<Pod>,
    /// What uses this Dataset, by name.
    pub users: Vec<KindRef>,
}

/// Reads all of it.
///
/// # Errors
/// [`Error::Read`].
pub async fn dereference(owner: &Owner, client: &Client) -> Result<References, Error> {
    let (service_accounts, network_policies, jobs, users) = tokio::try_join!(
        list(client, owner),
        list(client, owner),
        list(client, owner),
        users(owner, client)
    )?;
    // After the Jobs: a Job that has ended was read, so its pod is read with its last words.
    let pods = list::<Pod>(client, owner).await?;
    Ok(References { service_accounts, network_policies, jobs, pods: pods.live, users })
}
