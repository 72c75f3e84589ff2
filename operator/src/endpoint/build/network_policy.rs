//! Whom workers may talk to: see [`network`](crate::network); and who may talk to them: pods of their own namespace and of
//! Easel's.

use k8s_openapi::api::networking::v1::{NetworkPolicy, NetworkPolicyIngressRule};

use super::ValidEndpoint;
use super::container::PORT;
use crate::context::Settings;
use crate::network::{namespace, policy, port};

pub fn build(valid: &ValidEndpoint, settings: &Settings) -> NetworkPolicy {
    let ingress = NetworkPolicyIngressRule {
        ports: Some(vec![port("TCP", PORT)]),
        from: Some(vec![namespace(&valid.owner.namespace), namespace(&settings.namespace)]),
    };
    policy(&valid.owner, vec![ingress], settings)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Egress;
    use crate::endpoint::build::testing::{settings, valid};

    #[test]
    fn named_networks_are_added_without_the_metadata_service() {
        let mut settings = settings();
        settings.worker_egress = vec![Egress { cidr: "0.0.0.0/0".into(), port: 443 }];
        let spec = build(&valid("{}"), &settings).spec.unwrap();
        assert_eq!(spec.policy_types.unwrap(), ["Ingress", "Egress"]);
        let egress = spec.egress.unwrap();
        assert_eq!(egress.len(), 3, "DNS, facade and the named network");
        let block = egress[2].to.as_ref().unwrap()[0].ip_block.clone().unwrap();
        assert_eq!(block.except.unwrap(), ["169.254.0.0/16"]);
        assert!(egress[1].to.is_some(), "the facade's ports are open towards its namespace only");
        assert_eq!(spec.ingress.unwrap().len(), 1);
    }
}
