//! The trainer's identity: a name for the facade to recognise, without any right in the cluster.

use k8s_openapi::api::core::v1::ServiceAccount;

use super::ValidTraining;

pub fn build(valid: &ValidTraining) -> ServiceAccount {
    ServiceAccount {
        metadata: valid.owner.child_meta(valid.owner.child_name()),
        automount_service_account_token: Some(false),
        ..Default::default()
    }
}
