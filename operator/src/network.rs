//! Whom the runtime's pods may talk to: the facade, DNS, and the networks that the installation names. All else is
//! denied; who may talk to them is said by who makes the policy.

use k8s_openapi::api::networking::v1::{
    IPBlock, NetworkPolicy, NetworkPolicyEgressRule, NetworkPolicyIngressRule, NetworkPolicyPeer,
    NetworkPolicyPort, NetworkPolicySpec,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

use crate::children::Owner;
use crate::config::Egress;
use crate::context::Settings;

/// Ports of the facade's pods: objects and the worker protocol.
const FACADE_PORTS: [i32; 2] = [8080, 8081];
const DNS_PORT: i32 = 53;

/// The policy of an owner's pods.
pub fn policy(owner: &Owner, ingress: Vec<NetworkPolicyIngressRule>, settings: &Settings) -> NetworkPolicy {
    let dns =
        NetworkPolicyEgressRule { ports: Some(vec![port("UDP", DNS_PORT), port("TCP", DNS_PORT)]), to: None };
    let facade = NetworkPolicyEgressRule {
        ports: Some(FACADE_PORTS.map(|number| port("TCP", number)).to_vec()),
        to: Some(vec![namespace(&settings.namespace)]),
    };
    let others = settings.worker_egress.iter().map(network);
    NetworkPolicy {
        metadata: owner.child_meta(owner.child_name()),
        spec: Some(NetworkPolicySpec {
            pod_selector: Some(owner.component.selector(&owner.name)),
            policy_types: Some(vec!["Ingress".to_owned(), "Egress".to_owned()]),
            ingress: Some(ingress),
            egress: Some([dns, facade].into_iter().chain(others).collect()),
        }),
    }
}

/// A port of a rule.
pub fn port(protocol: &str, number: i32) -> NetworkPolicyPort {
    NetworkPolicyPort {
        protocol: Some(protocol.to_owned()),
        port: Some(IntOrString::Int(number)),
        end_port: None,
    }
}

/// All pods of a namespace.
pub fn namespace(name: &str) -> NetworkPolicyPeer {
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
