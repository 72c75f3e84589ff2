//! What the API server's rules cannot check: the catalogue, and amounts against one another. Pure.

use std::collections::BTreeMap;

use easel_crds::Endpoint;
use easel_crds::common::{Device, DeviceClaim, Precision, Resources};
use easel_crds::endpoint::{Autoscaling, AutoscalingMode, EndpointSpec, Rollout};
use k8s_openapi::api::core::v1::{ResourceClaim, ResourceRequirements, Toleration};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;

use crate::catalogue::{Catalogue, GPU_RESOURCE};
use crate::children::Owner;
use crate::error::Error;
use crate::labels::Component;
use crate::quantity::Amount;

/// Suggestions in a message; more than this nobody reads.
const SUGGESTIONS: usize = 12;

/// A spec that no worker can be made of.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidEndpoint {
    #[error("spec.instanceType {name} is not in the operator's catalogue; it has {known}")]
    UnknownInstanceType { name: String, known: String },
    #[error("{field} is \"{value}\", which is no quantity such as 500m or 4Gi")]
    Quantity { field: String, value: String },
    #[error("spec.resources requests {request} of {name}, more than its limit of {limit}")]
    AboveLimit { name: String, request: String, limit: String },
    #[error(
        "spec.device is Cuda, but the pods get no GPU: name an instanceType with one, set \
         resources.limits[{GPU_RESOURCE}], or give resourceClaims"
    )]
    DeviceWithoutGpu,
}

impl InvalidEndpoint {
    /// Stable CamelCase word.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::UnknownInstanceType { .. } => "UnknownInstanceType",
            Self::Quantity { .. } | Self::AboveLimit { .. } => "InvalidResources",
            Self::DeviceWithoutGpu => "DeviceWithoutGpu",
        }
    }
}

/// An Endpoint that children can be built of.
#[derive(Clone, Debug)]
pub struct ValidEndpoint {
    pub owner: Owner,
    /// Pods to run; 0 while suspended.
    pub replicas: i32,
    pub device: Device,
    pub precision: Precision,
    pub resources: ResourceRequirements,
    pub claims: Vec<DeviceClaim>,
    pub node_selector: BTreeMap<String, String>,
    pub tolerations: Vec<Toleration>,
    pub priority_class_name: Option<String>,
    pub rollout: Rollout,
    pub cache_limit: Quantity,
    /// The claim that the cache is on; `None`: scratch space of the pod.
    pub cache_claim: Option<String>,
    /// What the worker may keep in the cache: a little less than the volume's limit.
    pub cache_bytes: u64,
}

/// Checks an Endpoint and settles everything that has a default.
///
/// # Errors
/// [`Error::Endpoint`] with the first thing that is wrong; [`Error::Unstored`].
pub fn validate(endpoint: &Endpoint, catalogue: &Catalogue) -> Result<ValidEndpoint, Error> {
    let owner = Owner::of(endpoint, Component::Endpoint).ok_or(Error::Unstored)?;
    let spec = &endpoint.spec;
    let placement = placement(spec, catalogue)?;
    let device = spec.device.unwrap_or(placement.device);
    if device == Device::Cuda && !has_gpu(&placement.resources) && spec.resource_claims.is_empty() {
        return Err(InvalidEndpoint::DeviceWithoutGpu.into());
    }
    let mut node_selector = placement.node_selector;
    node_selector.extend(spec.node_selector.clone());
    let mut tolerations = spec.tolerations.clone();
    tolerations.extend(placement.tolerations);
    Ok(ValidEndpoint {
        owner,
        replicas: desired_replicas(spec),
        device,
        precision: spec.precision,
        resources: with_claims(placement.resources, &spec.resource_claims),
        claims: spec.resource_claims.clone(),
        node_selector,
        tolerations,
        priority_class_name: spec.priority_class_name.clone(),
        rollout: spec.rollout.clone(),
        cache_bytes: cache_bytes(&spec.cache.size_limit)?,
        cache_limit: spec.cache.size_limit.clone(),
        cache_claim: spec.cache.volume.as_ref().map(|volume| volume.claim_name.clone()),
    })
}

struct Placement {
    resources: ResourceRequirements,
    device: Device,
    node_selector: BTreeMap<String, String>,
    tolerations: Vec<Toleration>,
}

fn placement(spec: &EndpointSpec, catalogue: &Catalogue) -> Result<Placement, InvalidEndpoint> {
    if let Some(resources) = &spec.resources {
        let resources = checked(resources)?;
        let device = if has_gpu(&resources) { Device::Cuda } else { Device::Cpu };
        let tolerations = gpu_toleration(device);
        return Ok(Placement { resources, device, node_selector: BTreeMap::new(), tolerations });
    }
    let name = spec.instance_type.as_deref();
    let Some(instance) = catalogue.get(name) else {
        let name = name.unwrap_or_default().to_owned();
        let mut known: Vec<&str> = catalogue.suggestions(&name);
        let more = if known.len() > SUGGESTIONS { ", …" } else { "" };
        known.truncate(SUGGESTIONS);
        let known = format!("{}{more}", known.join(", "));
        return Err(InvalidEndpoint::UnknownInstanceType { name, known });
    };
    let mut tolerations = instance.tolerations.clone();
    tolerations.extend(gpu_toleration(instance.device()));
    Ok(Placement {
        resources: instance.resources(),
        device: instance.device(),
        node_selector: instance.node_selector.clone(),
        tolerations,
    })
}

fn checked(resources: &Resources) -> Result<ResourceRequirements, InvalidEndpoint> {
    for (list, amounts) in [("requests", &resources.requests), ("limits", &resources.limits)] {
        for (name, amount) in amounts {
            let field = || format!("spec.resources.{list}[{name}]");
            amount_of(amount, field)?;
        }
    }
    for (name, request) in &resources.requests {
        let Some(limit) = resources.limits.get(name) else { continue };
        if Amount::parse(&request.0) > Amount::parse(&limit.0) {
            let (request, limit) = (request.0.clone(), limit.0.clone());
            return Err(InvalidEndpoint::AboveLimit { name: name.clone(), request, limit });
        }
    }
    let given = |list: &BTreeMap<String, Quantity>| (!list.is_empty()).then(|| list.clone());
    Ok(ResourceRequirements {
        requests: given(&resources.requests),
        limits: given(&resources.limits),
        claims: None,
    })
}

fn amount_of(quantity: &Quantity, field: impl FnOnce() -> String) -> Result<Amount, InvalidEndpoint> {
    Amount::parse(&quantity.0)
        .ok_or_else(|| InvalidEndpoint::Quantity { field: field(), value: quantity.0.clone() })
}

fn cache_bytes(limit: &Quantity) -> Result<u64, InvalidEndpoint> {
    let bytes = amount_of(limit, || "spec.cache.sizeLimit".to_owned())?.units();
    // The kubelet evicts a pod above the limit, and counts directories and unfinished files too.
    Ok(u64::try_from(bytes - bytes / 20).unwrap_or(0))
}

fn has_gpu(resources: &ResourceRequirements) -> bool {
    resources.limits.as_ref().is_some_and(|limits| limits.contains_key(GPU_RESOURCE))
}

/// Nodes with GPUs usually carry this taint.
fn gpu_toleration(device: Device) -> Vec<Toleration> {
    if device == Device::Cpu {
        return Vec::new();
    }
    vec![Toleration {
        key: Some(GPU_RESOURCE.to_owned()),
        operator: Some("Exists".to_owned()),
        effect: Some("NoSchedule".to_owned()),
        ..Default::default()
    }]
}

fn with_claims(mut resources: ResourceRequirements, claims: &[DeviceClaim]) -> ResourceRequirements {
    if !claims.is_empty() {
        let names = claims.iter().map(|claim| ResourceClaim { name: claim.name.clone(), request: None });
        resources.claims = Some(names.collect());
    }
    resources
}

/// The number of pods; within the autoscaler's bounds where there is a built-in one.
fn desired_replicas(spec: &EndpointSpec) -> i32 {
    match &spec.autoscaling {
        _ if spec.suspend => 0,
        Some(Autoscaling { mode: AutoscalingMode::BuiltIn, min_replicas, max_replicas, .. }) => {
            spec.replicas.min(*max_replicas).max(*min_replicas)
        }
        Some(_) | None => spec.replicas,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::endpoint::build::testing::{endpoint, endpoint_from};

    fn check(spec: &str) -> Result<ValidEndpoint, String> {
        let catalogue = Catalogue::load(None).unwrap();
        validate(&endpoint_from(spec), &catalogue).map_err(|error| {
            assert!(!error.retriable());
            format!("{}: {error}", error.reason())
        })
    }

    #[test]
    fn a_wrong_spec_is_refused_with_the_remedy() {
        let cases = [
            (
                "instanceType: ml.g4dn.2xl",
                "UnknownInstanceType: spec.instanceType ml.g4dn.2xl",
                "ml.g4dn.2xlarge",
            ),
            ("device: Cuda", "DeviceWithoutGpu: spec.device is Cuda", "resourceClaims"),
            ("resources: {limits: {cpu: much}}", "InvalidResources: spec.resources.limits[cpu]", "\"much\""),
            (
                "resources: {requests: {memory: 2Gi}, limits: {memory: 1Gi}}",
                "InvalidResources: spec.resources requests 2Gi of memory",
                "limit of 1Gi",
            ),
        ];
        for (spec, start, part) in cases {
            let error = check(spec).expect_err(spec);
            assert!(error.starts_with(start) && error.contains(part), "{error}");
        }
    }

    #[test]
    fn the_device_follows_the_resources() {
        let cases = [
            ("{}", Device::Cpu, 0),
            ("instanceType: ml.g5.xlarge", Device::Cuda, 1),
            ("resources: {limits: {nvidia.com/gpu: 1}}", Device::Cuda, 1),
            ("{device: Cuda, resourceClaims: [{name: gpu, resourceClaimName: shared}]}", Device::Cuda, 0),
            ("{device: Cpu, instanceType: ml.g5.xlarge}", Device::Cpu, 1),
        ];
        for (spec, device, tolerations) in cases {
            let valid = check(spec).expect(spec);
            assert_eq!((valid.device, valid.tolerations.len()), (device, tolerations), "{spec}");
        }
    }

    #[test]
    fn suspend_and_the_autoscalers_bounds_decide_the_number_of_pods() {
        let cases = [
            ("{}", 1),
            ("replicas: 3", 3),
            ("{replicas: 3, suspend: true}", 0),
            ("{replicas: 9, autoscaling: {maxReplicas: 4}}", 4),
            ("{replicas: 0, autoscaling: {minReplicas: 2, maxReplicas: 4}}", 2),
            ("{replicas: 9, autoscaling: {mode: External, maxReplicas: 4}}", 9),
        ];
        for (spec, replicas) in cases {
            assert_eq!(check(spec).expect(spec).replicas, replicas, "{spec}");
        }
    }

    #[test]
    fn the_worker_keeps_clear_of_the_volumes_limit() {
        let valid = check("cache: {sizeLimit: 100Ki}").unwrap();
        assert_eq!(valid.cache_bytes, 97280);
    }

    #[test]
    fn an_object_that_was_never_stored_has_no_children() {
        let mut unstored = endpoint();
        unstored.metadata.uid = None;
        let catalogue = Catalogue::load(None).unwrap();
        assert!(matches!(validate(&unstored, &catalogue), Err(Error::Unstored)));
    }
}
