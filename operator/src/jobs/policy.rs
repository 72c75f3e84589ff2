//! Which ends of a pod count, and what a Job is called.

use easel_protocol::failure::{EXIT_PERMANENT, EXIT_TERMINATED};
use k8s_openapi::api::batch::v1::{
    PodFailurePolicy, PodFailurePolicyOnExitCodesRequirement, PodFailurePolicyOnPodConditionsPattern,
    PodFailurePolicyRule,
};

use crate::children::{Owner, sha256_hex};

/// Longest piece of an owner's name in the name of a Job, whose pods carry that name in a label.
const NAME_PART: usize = 38;

/// A permanent failure of this container ends the Job at once; a pod that the cluster took away does not count, and
/// neither does one that somebody deleted.
pub fn failure_policy(container: &str) -> PodFailurePolicy {
    let exit = |action: &str, code| PodFailurePolicyRule {
        action: action.to_owned(),
        on_exit_codes: Some(PodFailurePolicyOnExitCodesRequirement {
            container_name: Some(container.to_owned()),
            operator: "In".to_owned(),
            values: vec![code],
        }),
        on_pod_conditions: None,
    };
    let disrupted = PodFailurePolicyRule {
        action: "Ignore".to_owned(),
        on_exit_codes: None,
        on_pod_conditions: Some(vec![PodFailurePolicyOnPodConditionsPattern {
            type_: "DisruptionTarget".to_owned(),
            status: "True".to_owned(),
        }]),
    };
    let rules = vec![exit("FailJob", EXIT_PERMANENT), disrupted, exit("Ignore", EXIT_TERMINATED)];
    PodFailurePolicy { rules }
}

/// Name of a Job: the same for the same `identity`, another for every other one.
pub fn job_name(owner: &Owner, identity: &str) -> String {
    let digest = sha256_hex(identity.as_bytes());
    let name: String = owner.name.chars().take(NAME_PART).collect();
    format!("{}-{}", owner.component.child_name(&name), &digest[..8])
}
