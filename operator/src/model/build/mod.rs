//! The children of a Model, one file each. Pure: validated values in, whole objects out.

mod job;
mod service_account;
#[cfg(test)]
pub(crate) mod testing;

use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::ServiceAccount;

use super::{Plan, ValidModel};
use crate::context::Settings;

/// All children of one Model.
#[derive(Clone, Debug)]
pub struct Built {
    pub service_account: ServiceAccount,
    /// The Job that is to exist. One that exists already is left as it is: its template cannot change.
    pub job: Option<Job>,
}

/// Builds them.
pub fn build(valid: &ValidModel, plan: &Plan, settings: &Settings) -> Built {
    Built {
        service_account: service_account::build(valid),
        job: plan.job().map(|(name, round)| job::build(valid, name, round, settings)),
    }
}
