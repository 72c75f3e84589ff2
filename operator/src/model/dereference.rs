//! Reads what a Model's reconcile has to know: its Jobs, their pods, and who uses it. Only reads, and always
//! from the API server: a cache may be older than what triggered the reconcile.

use easel_crds::{Endpoint, Model};
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::{Pod, ServiceAccount};
use kube::api::{Api, ListParams};
use kube::{Client, ResourceExt};

use crate::children::{Children, Owner, list};
use crate::error::Error;

/// What was found.
#[derive(Clone, Debug)]
pub struct References {
    pub service_accounts: Children<ServiceAccount>,
    pub jobs: Children<Job>,
    pub pods: Vec<Pod>,
    /// Names of the Endpoints that list this Model, sorted.
    pub endpoints: Vec<String>,
}

/// Reads all of it.
///
/// # Errors
/// [`Error::Read`].
pub async fn dereference(model: &Model, owner: &Owner, client: &Client) -> Result<References, Error> {
    let (service_accounts, jobs, endpoints) =
        tokio::try_join!(list(client, owner), list(client, owner), endpoints(model, owner, client))?;
    // After the Jobs: a Job that has ended was read, so its pod is read with its last words.
    let pods = list::<Pod>(client, owner).await?;
    Ok(References { service_accounts, jobs, pods: pods.live, endpoints })
}

async fn endpoints(model: &Model, owner: &Owner, client: &Client) -> Result<Vec<String>, Error> {
    let name = model.name_any();
    let api = Api::<Endpoint>::namespaced(client.clone(), &owner.namespace);
    let all = api.list(&ListParams::default()).await;
    let all = all.map_err(|source| Error::Read { what: "endpoints".to_owned(), source: source.into() })?;
    let uses = |endpoint: &Endpoint| endpoint.spec.models.iter().any(|listed| listed.name == name);
    let mut names: Vec<String> = all.items.iter().filter(|e| uses(e)).map(Endpoint::name_any).collect();
    names.sort();
    Ok(names)
}
