//! Whom workers may talk to: the facade, DNS, and the networks that the installation names; and who may
//! talk to them: pods of their own namespace and of Easel's. All else is denied, both ways.

use k8s_openapi::api::networking::v1::{
    IPBlock, NetworkPolicy, NetworkPolicyEgressRule, NetworkPolicyIngressRule, NetworkPolicyPeer,
    NetworkPolicyPort, NetworkPolicySpec,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

use super::ValidEndpoint;
use super::container::PORT;
use crate::config::Egress;
use crate::context::Settings;

/// Ports of the facade's pods: objects and the worker protocol.
const FACADE_PORTS: [i32; 2] = [8080, 8081];
const DNS_PORT: i32 = 53;

pub fn build(valid: &ValidEndpoint, settings: &Settings) -> NetworkPolicy {
    let owner = &valid.owner;
    let dns =
        NetworkPolicyEgressRule { ports: Some(vec![port("UDP", DNS_PORT), port("TCP", DNS_PORT)]), to: None };
    let facade = NetworkPolicyEgressRule {
        ports: Some(FACADE_PORTS.map(|number| port("TCP", number)).to_vec()),
        to: Some(vec![namespace(&settings.namespace)]),
    };
    let ingress = NetworkPolicyIngressRule {
        ports: Some(vec![port("TCP", PORT)]),
        from: Some(vec![namespace(&owner.namespace), namespace(&settings.namespace)]),
    };
    let others = settings.worker_egress.iter().map(network);
    NetworkPolicy {
        metadata: owner.child_meta(owner.child_name()),
        spec: Some(NetworkPolicySpec {
            pod_selector: Some(owner.component.selector(&owner.name)),
            policy_types: Some(vec!["Ingress".to_owned(), "Egress".to_owned()]),
            ingress: Some(vec![ingress]),
            egress: Some([dns, facade].into_iter().chain(others).collect()),
        }),
    }
}

fn port(protocol: &str, number: i32) -> NetworkPolicyPort {
    NetworkPolicyPort {
        protocol: Some(protocol.to_owned()),
        port: Some(IntOrString::Int(number)),
        end_port: None,
    }
}

fn namespace(name: &str) -> NetworkPolicyPeer {
    let labels = [("kubernetes.io/metadata.name".to_owned(), name.to_owned())];
    NetworkPolicyPeer {
        namespace_selector: Some(LabelSelector { match_labels: Some(labels.into()), ..Default::default() }),
        ..Default::default()
    }
}

fn network(egress: &Egress) -> NetworkPolicyEgressRule {
    // The cloud's metadata service hands out credentials; no object store lives there.
    let except = (egress.cidr == "0.0.0.0/0").then(|| vec!["169.254.0.0/16".to_owned()]);
    let block = IPBlock { cidr: egress.cidr.clone(), except };
    NetworkPolicyEgressRule {
        ports: Some(vec![port("TCP", i32::from(egress.port))]),
        to: Some(vec![NetworkPolicyPeer { ip_block: Some(block), ..Default::default() }]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
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
