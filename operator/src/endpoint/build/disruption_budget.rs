//! How many workers a drain of nodes may take at once.

use k8s_openapi::api::policy::v1::{PodDisruptionBudget, PodDisruptionBudgetSpec};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

use super::ValidEndpoint;

/// One at a time, also when there is only one: its job finishes or is queued again, and a budget that
/// forbids every eviction would hold up the maintenance of nodes for ever.
pub fn build(valid: &ValidEndpoint) -> PodDisruptionBudget {
    let owner = &valid.owner;
    PodDisruptionBudget {
        metadata: owner.child_meta(owner.child_name()),
        spec: Some(PodDisruptionBudgetSpec {
            max_unavailable: Some(IntOrString::Int(1)),
            selector: Some(owner.component.selector(&owner.name)),
            unhealthy_pod_eviction_policy: Some("AlwaysAllow".to_owned()),
            ..Default::default()
        }),
        status: None,
    }
}
