//! What a TrainingJob makes, one file each. Pure: validated values in, whole objects out.

mod job;
mod model;
mod service_account;
#[cfg(test)]
pub(crate) mod testing;

use easel_crds::Model;
use k8s_openapi::api::batch::v1::{Job, JobSpec};
use k8s_openapi::api::core::v1::ServiceAccount;
use k8s_openapi::api::networking::v1::NetworkPolicy;

pub use job::{template, template_hash};

use super::{Plan, ValidTraining};
use crate::context::Settings;
use crate::network::policy;

/// All that there may be of one TrainingJob.
#[derive(Clone, Debug)]
pub struct Built {
    pub service_account: ServiceAccount,
    pub network_policy: NetworkPolicy,
    /// The Job that is to exist. Of one that exists already only `suspend` may change.
    pub job: Option<Job>,
    /// The Model that is to be made.
    pub model: Option<Model>,
}

/// Builds them; `template` is that of the Job, and `attempts` were made before.
pub fn build(
    valid: &ValidTraining,
    plan: &Plan,
    template: JobSpec,
    attempts: u32,
    settings: &Settings,
) -> Built {
    Built {
        service_account: service_account::build(valid),
        // Nobody has to talk to a trainer.
        network_policy: policy(&valid.owner, Vec::new(), settings),
        job: match plan {
            Plan::Run { job, .. } | Plan::Queued { job } => Some(job::build(valid, job, template, attempts)),
            _ => None,
        },
        model: match plan {
            Plan::Import { make: true, .. } => Some(model::build(valid)),
            _ => None,
        },
    }
}
