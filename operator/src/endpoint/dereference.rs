//! Reads what an Endpoint's reconcile has to know: its children, their pods, its Models. Only reads, and
//! always from the API server: a cache may be older than what triggered the reconcile.

use easel_crds::{Endpoint, Model};
use futures::{StreamExt, TryStreamExt, stream};
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::{Pod, Service, ServiceAccount};
use k8s_openapi::api::networking::v1::NetworkPolicy;
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use kube::{Api, Client};

use crate::children::{Children, Owner, list};
use crate::error::Error;

/// Reads of Models at the same time.
const PARALLEL: usize = 8;

/// What was found.
#[derive(Clone, Debug)]
pub struct References {
    pub service_accounts: Children<ServiceAccount>,
    pub network_policies: Children<NetworkPolicy>,
    pub services: Children<Service>,
    pub disruption_budgets: Children<PodDisruptionBudget>,
    pub deployments: Children<Deployment>,
    pub pods: Vec<Pod>,
    /// The listed Models in their order; `None` for one that does not exist.
    pub models: Vec<(String, Option<Model>)>,
}

/// Reads all of it.
///
/// # Errors
/// [`Error::Read`].
pub async fn dereference(endpoint: &Endpoint, owner: &Owner, client: &Client) -> Result<References, Error> {
    let (service_accounts, network_policies, services, disruption_budgets, deployments, pods, models) = tokio::try_join!(
        list(client, owner),
        list(client, owner),
        list(client, owner),
        list(client, owner),
        list(client, owner),
        list(client, owner),
        models(endpoint, owner, client),
    )?;
    Ok(References {
        service_accounts,
        network_policies,
        services,
        disruption_budgets,
        deployments,
        pods: pods.live,
        models,
    })
}

async fn models(
    endpoint: &Endpoint,
    owner: &Owner,
    client: &Client,
) -> Result<Vec<(String, Option<Model>)>, Error> {
    let api = Api::<Model>::namespaced(client.clone(), &owner.namespace);
    let names: Vec<String> = endpoint.spec.models.iter().map(|model| model.name.clone()).collect();
    stream::iter(names)
        .map(|name| {
            let api = api.clone();
            async move {
                let model = api
                    .get_opt(&name)
                    .await
                    .map_err(|source| Error::Read { what: format!("Model {name}"), source: source.into() })?;
                Ok((name, model))
            }
        })
        .buffered(PARALLEL)
        .try_collect()
        .await
}
