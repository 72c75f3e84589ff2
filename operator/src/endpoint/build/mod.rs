//! The children of an Endpoint, one file each. Pure: validated values in, whole objects out.

mod container;
mod deployment;
mod disruption_budget;
mod network_policy;
mod service;
mod service_account;
#[cfg(test)]
pub(crate) mod testing;

use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::{Service, ServiceAccount};
use k8s_openapi::api::networking::v1::NetworkPolicy;
use k8s_openapi::api::policy::v1::PodDisruptionBudget;

use super::ValidEndpoint;
use crate::context::Settings;

/// All children of one Endpoint.
#[derive(Clone, Debug)]
pub struct Built {
    pub service_account: ServiceAccount,
    pub network_policy: NetworkPolicy,
    pub service: Service,
    pub disruption_budget: PodDisruptionBudget,
    pub deployment: Deployment,
}

/// Builds them.
pub fn build(valid: &ValidEndpoint, settings: &Settings) -> Built {
    Built {
        service_account: service_account::build(valid),
        network_policy: network_policy::build(valid, settings),
        service: service::build(valid),
        disruption_budget: disruption_budget::build(valid),
        deployment: deployment::build(valid, settings),
    }
}
