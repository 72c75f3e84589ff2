//! Where a pod runs and what it gets there: an instance type of the catalogue, or resources of the object's own, checked
//! against one another. Endpoints' workers and trainers get them in the same way. Pure.

use std::collections::BTreeMap;

use easel_crds::common::{Device, DeviceClaim, Resources};
use k8s_openapi::api::core::v1::{
    PodResourceClaim, PodSpec, ResourceClaim, ResourceRequirements, Toleration,
};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;

use crate::catalogue::{Catalogue, GPU_RESOURCE};
use crate::context::Settings;
use crate::quantity::Amount;

/// Suggestions in a message; more than this nobody reads.
const SUGGESTIONS: usize = 12;

/// What a spec says about it.
#[derive(Clone, Copy, Debug)]
pub struct Wanted<'a> {
    pub instance_type: Option<&'a str>,
    pub resources: Option<&'a Resources>,
    pub claims: &'a [DeviceClaim],
    pub node_selector: &'a BTreeMap<String, String>,
    pub tolerations: &'a [Toleration],
    pub priority_class_name: Option<&'a str>,
    pub device: Option<Device>,
}

/// What no pod can be made of.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidPlacement {
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

impl InvalidPlacement {
    /// Stable CamelCase word.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::UnknownInstanceType { .. } => "UnknownInstanceType",
            Self::Quantity { .. } | Self::AboveLimit { .. } => "InvalidResources",
            Self::DeviceWithoutGpu => "DeviceWithoutGpu",
        }
    }
}

/// What the pods get, with every default settled.
#[derive(Clone, Debug, PartialEq)]
pub struct Placement {
    pub device: Device,
    pub resources: ResourceRequirements,
    pub claims: Vec<DeviceClaim>,
    pub node_selector: BTreeMap<String, String>,
    pub tolerations: Vec<Toleration>,
    pub priority_class_name: Option<String>,
}

/// Checks what is wanted and settles it.
///
/// # Errors
/// The first thing that is wrong.
pub fn place(wanted: &Wanted<'_>, catalogue: &Catalogue) -> Result<Placement, InvalidPlacement> {
    let mut placement = match wanted.resources {
        Some(resources) => of_resources(resources)?,
        None => of_instance_type(wanted.instance_type, catalogue)?,
    };
    placement.device = wanted.device.unwrap_or(placement.device);
    if placement.device == Device::Cuda && !has_gpu(&placement.resources) && wanted.claims.is_empty() {
        return Err(InvalidPlacement::DeviceWithoutGpu);
    }
    if !wanted.claims.is_empty() {
        let names =
            wanted.claims.iter().map(|claim| ResourceClaim { name: claim.name.clone(), request: None });
        placement.resources.claims = Some(names.collect());
    }
    placement.claims = wanted.claims.to_vec();
    placement.node_selector.extend(wanted.node_selector.clone());
    placement.tolerations = [wanted.tolerations, &placement.tolerations].concat();
    placement.priority_class_name = wanted.priority_class_name.map(str::to_owned);
    Ok(placement)
}

impl Placement {
    fn new(device: Device, resources: ResourceRequirements) -> Self {
        let (claims, node_selector, priority_class_name) = (Vec::new(), BTreeMap::new(), None);
        let tolerations = gpu_toleration(device);
        Self { device, resources, claims, node_selector, tolerations, priority_class_name }
    }

    /// Image of the runtime for this device.
    pub fn image(&self, settings: &Settings) -> String {
        match self.device {
            Device::Cpu => settings.runtime_image.clone(),
            Device::Cuda => settings.runtime_image_cuda.clone(),
        }
    }

    /// The device as the runtime calls it.
    pub fn device_word(&self) -> &'static str {
        match self.device {
            Device::Cpu => "cpu",
            Device::Cuda => "cuda",
        }
    }

    /// As many threads as the CPU limit pays for; without a limit the runtime looks at the node.
    pub fn threads(&self) -> Option<i128> {
        let limit = self.resources.limits.as_ref()?.get("cpu")?;
        Some(Amount::parse(&limit.0)?.units().max(1))
    }

    /// `pod`, on such nodes and with such devices. What its container gets is [`Self::resources`].
    pub fn put(&self, pod: PodSpec) -> PodSpec {
        let claims: Vec<PodResourceClaim> = self.claims.iter().map(claim).collect();
        PodSpec {
            node_selector: (!self.node_selector.is_empty()).then(|| self.node_selector.clone()),
            tolerations: (!self.tolerations.is_empty()).then(|| self.tolerations.clone()),
            priority_class_name: self.priority_class_name.clone(),
            resource_claims: (!claims.is_empty()).then_some(claims),
            ..pod
        }
    }
}

fn claim(claim: &DeviceClaim) -> PodResourceClaim {
    PodResourceClaim {
        name: claim.name.clone(),
        resource_claim_name: claim.resource_claim_name.clone(),
        resource_claim_template_name: claim.resource_claim_template_name.clone(),
    }
}

fn of_instance_type(name: Option<&str>, catalogue: &Catalogue) -> Result<Placement, InvalidPlacement> {
    let Some(instance) = catalogue.get(name) else {
        let name = name.unwrap_or_default().to_owned();
        let mut known: Vec<&str> = catalogue.suggestions(&name);
        let more = if known.len() > SUGGESTIONS { ", …" } else { "" };
        known.truncate(SUGGESTIONS);
        let known = format!("{}{more}", known.join(", "));
        return Err(InvalidPlacement::UnknownInstanceType { name, known });
    };
    let mut placement = Placement::new(instance.device(), instance.resources());
    placement.node_selector.clone_from(&instance.node_selector);
    placement.tolerations = [&instance.tolerations[..], &placement.tolerations].concat();
    Ok(placement)
}

fn of_resources(resources: &Resources) -> Result<Placement, InvalidPlacement> {
    for (list, amounts) in [("requests", &resources.requests), ("limits", &resources.limits)] {
        for (name, amount) in amounts {
            let wrong = || InvalidPlacement::Quantity {
                field: format!("spec.resources.{list}[{name}]"),
                value: amount.0.clone(),
            };
            Amount::parse(&amount.0).ok_or_else(wrong)?;
        }
    }
    for (name, request) in &resources.requests {
        let Some(limit) = resources.limits.get(name) else { continue };
        if Amount::parse(&request.0) > Amount::parse(&limit.0) {
            let (request, limit) = (request.0.clone(), limit.0.clone());
            return Err(InvalidPlacement::AboveLimit { name: name.clone(), request, limit });
        }
    }
    let given = |list: &BTreeMap<String, Quantity>| (!list.is_empty()).then(|| list.clone());
    let resources = ResourceRequirements {
        requests: given(&resources.requests),
        limits: given(&resources.limits),
        claims: None,
    };
    let device = if has_gpu(&resources) { Device::Cuda } else { Device::Cpu };
    Ok(Placement::new(device, resources))
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
