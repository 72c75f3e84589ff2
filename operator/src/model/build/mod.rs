//! The children of a Model, one file each. Pure: validated values in, whole objects out.

mod job;
mod service_account;
#[cfg(test)]
pub(crate) mod testing;
mod work_volume;

use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::{PersistentVolumeClaim, ServiceAccount};

use super::{Plan, ValidModel};
use crate::context::Settings;

/// All children of one Model.
#[derive(Clone, Debug)]
pub struct Built {
    pub service_account: ServiceAccount,
    /// What the Job's pods work on, where that is not their own disk. One that exists is left as it is.
    pub work_volume: Option<PersistentVolumeClaim>,
    /// The Job that is to exist. One that exists already is left as it is: its template cannot change.
    pub job: Option<Job>,
}

/// Builds them.
pub fn build(valid: &ValidModel, plan: &Plan, settings: &Settings) -> Built {
    Built {
        service_account: service_account::build(valid),
        work_volume: match (plan, &settings.import_volume) {
            (Plan::Run { .. }, Some(wanted)) => Some(work_volume::build(valid, wanted)),
            _ => None,
        },
        job: plan.job().map(|(name, round)| job::build(valid, name, round, settings)),
    }
}
