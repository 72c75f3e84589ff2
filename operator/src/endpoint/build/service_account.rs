//! The workers' identity: a name for the facade to recognise, without any right in the cluster.

use k8s_openapi::api::core::v1::ServiceAccount;

use super::ValidEndpoint;

pub fn build(valid: &ValidEndpoint) -> ServiceAccount {
    ServiceAccount {
        metadata: valid.owner.child_meta(valid.owner.child_name()),
        automount_service_account_token: Some(false),
        ..Default::default()
    }
}
