//! What the API server's rules cannot check: the catalogue, and amounts against one another. Pure.

use easel_crds::Endpoint;
use easel_crds::common::Precision;
use easel_crds::endpoint::{Autoscaling, AutoscalingMode, EndpointSpec, Rollout};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;

use crate::catalogue::Catalogue;
use crate::children::Owner;
use crate::error::Error;
use crate::labels::Component;
use crate::placement::{InvalidPlacement, Placement, Wanted, place};
use crate::quantity::Amount;

/// A spec that no worker can be made of.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidEndpoint {
    #[error(transparent)]
    Placement(#[from] InvalidPlacement),
    #[error("spec.cache.sizeLimit is \"{value}\", which is no quantity such as 20Gi")]
    CacheLimit { value: String },
}

impl InvalidEndpoint {
    /// Stable CamelCase word.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::Placement(invalid) => invalid.reason(),
            Self::CacheLimit { .. } => "InvalidResources",
        }
    }
}

/// An Endpoint that children can be built of.
#[derive(Clone, Debug)]
pub struct ValidEndpoint {
    pub owner: Owner,
    /// Pods to run; 0 while suspended.
    pub replicas: i32,
    pub placement: Placement,
    pub precision: Precision,
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
    let wanted = Wanted {
        instance_type: spec.instance_type.as_deref(),
        resources: spec.resources.as_ref(),
        claims: &spec.resource_claims,
        node_selector: &spec.node_selector,
        tolerations: &spec.tolerations,
        priority_class_name: spec.priority_class_name.as_deref(),
        device: spec.device,
    };
    Ok(ValidEndpoint {
        owner,
        replicas: desired_replicas(spec),
        placement: place(&wanted, catalogue).map_err(InvalidEndpoint::from)?,
        precision: spec.precision,
        rollout: spec.rollout.clone(),
        cache_bytes: cache_bytes(&spec.cache.size_limit)?,
        cache_limit: spec.cache.size_limit.clone(),
        cache_claim: spec.cache.volume.as_ref().map(|volume| volume.claim_name.clone()),
    })
}

fn cache_bytes(limit: &Quantity) -> Result<u64, InvalidEndpoint> {
    let wrong = || InvalidEndpoint::CacheLimit { value: limit.0.clone() };
    let bytes = Amount::parse(&limit.0).ok_or_else(wrong)?.units();
    // The kubelet evicts a pod above the limit, and counts directories and unfinished files too.
    Ok(u64::try_from(bytes - bytes / 20).unwrap_or(0))
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
    use easel_crds::common::Device;

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
            let placement = valid.placement;
            assert_eq!((placement.device, placement.tolerations.len()), (device, tolerations), "{spec}");
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
