//! The checker's identity: a name for the facade to recognise, without any right in the cluster.

use k8s_openapi::api::core::v1::ServiceAccount;

use super::ValidDataset;

pub fn build(valid: &ValidDataset) -> ServiceAccount {
    ServiceAccount {
        metadata: valid.owner.child_meta(valid.owner.child_name()),
        automount_service_account_token: Some(false),
        ..Default::default()
    }
}
