//! The Service in front of the workers: health and metrics, and generating without the queue.

use k8s_openapi::api::core::v1::{Service, ServicePort, ServiceSpec};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

use super::ValidEndpoint;
use super::container::{PORT, PORT_NAME};

pub fn build(valid: &ValidEndpoint) -> Service {
    let owner = &valid.owner;
    Service {
        metadata: owner.child_meta(owner.child_name()),
        spec: Some(ServiceSpec {
            selector: Some(owner.component.selector_labels(&owner.name)),
            ports: Some(vec![ServicePort {
                name: Some(PORT_NAME.to_owned()),
                port: PORT,
                target_port: Some(IntOrString::String(PORT_NAME.to_owned())),
                protocol: Some("TCP".to_owned()),
                ..Default::default()
            }]),
            ..Default::default()
        }),
        status: None,
    }
}
