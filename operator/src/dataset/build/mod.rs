//! The children of a Dataset, one file each. Pure: validated values in, whole objects out.

mod job;
mod service_account;
#[cfg(test)]
pub(crate) mod testing;

use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::ServiceAccount;
use k8s_openapi::api::networking::v1::NetworkPolicy;

use super::{Plan, ValidDataset};
use crate::context::Settings;
use crate::network::policy;

/// All children of one Dataset.
#[derive(Clone, Debug)]
pub struct Built {
    pub service_account: ServiceAccount,
    pub network_policy: NetworkPolicy,
    /// The Job that is to exist. One that exists already is left as it is: its template cannot change.
    pub job: Option<Job>,
}

/// Builds them.
pub fn build(valid: &ValidDataset, plan: &Plan, settings: &Settings) -> Built {
    Built {
        service_account: service_account::build(valid),
        // Nobody has to talk to a check.
        network_policy: policy(&valid.owner, Vec::new(), settings),
        job: plan.job().map(|(name, round)| job::build(valid, name, round, settings)),
    }
}
