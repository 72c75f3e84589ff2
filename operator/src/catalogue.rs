//! Instance types: names for an amount of CPU, memory and GPUs, from `instances.yaml` and the cluster
//! operator's own file.

use std::collections::BTreeMap;
use std::path::Path;

use easel_crds::common::Device;
use k8s_openapi::api::core::v1::{ResourceRequirements, Toleration};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use serde::Deserialize;

use crate::quantity::Amount;

/// The resource that a GPU is asked for by.
pub const GPU_RESOURCE: &str = "nvidia.com/gpu";
const BUILT_IN: &str = include_str!("instances.yaml");

/// One entry.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct InstanceType {
    pub cpu: String,
    pub memory: String,
    pub memory_limit: Option<String>,
    #[serde(default)]
    pub gpus: u32,
    #[serde(default)]
    pub node_selector: BTreeMap<String, String>,
    #[serde(default)]
    pub tolerations: Vec<Toleration>,
}

impl InstanceType {
    /// What a pod of this type asks for. The CPU has no limit: idle cores may be used.
    pub fn resources(&self) -> ResourceRequirements {
        let quantity = |text: &str| Quantity(text.to_owned());
        let mut requests = BTreeMap::from([("cpu".to_owned(), quantity(&self.cpu))]);
        requests.insert("memory".to_owned(), quantity(&self.memory));
        let limit = self.memory_limit.as_deref().unwrap_or(&self.memory);
        let mut limits = BTreeMap::from([("memory".to_owned(), quantity(limit))]);
        if self.gpus > 0 {
            limits.insert(GPU_RESOURCE.to_owned(), Quantity(self.gpus.to_string()));
        }
        ResourceRequirements { requests: Some(requests), limits: Some(limits), claims: None }
    }

    /// What pods of this type compute on.
    pub fn device(&self) -> Device {
        if self.gpus > 0 { Device::Cuda } else { Device::Cpu }
    }

    fn check(&self) -> Result<(), String> {
        let limit = self.memory_limit.as_deref().unwrap_or(&self.memory);
        for (field, text) in [("cpu", self.cpu.as_str()), ("memory", &self.memory), ("memoryLimit", limit)] {
            if !Amount::parse(text).is_some_and(Amount::is_positive) {
                return Err(format!("{field} is \"{text}\", which is no positive quantity"));
            }
        }
        Ok(())
    }
}

/// A catalogue that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum CatalogueError {
    #[error("cannot read the instance catalogue {path}")]
    Read { path: String, source: std::io::Error },
    #[error("{origin} is no instance catalogue")]
    Parse { origin: String, source: Box<serde_saphyr::Error> },
    #[error("instance type {name} in {origin}: {problem}")]
    Entry { origin: String, name: String, problem: String },
    #[error("the default instance type {name} is not in the catalogue")]
    Default { name: String },
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    default: Option<String>,
    #[serde(default)]
    instances: BTreeMap<String, InstanceType>,
}

/// All instance types by name.
#[derive(Clone, Debug)]
pub struct Catalogue {
    default: String,
    instances: BTreeMap<String, InstanceType>,
}

impl Catalogue {
    /// The built-in catalogue, with the entries of `path` on top.
    ///
    /// # Errors
    /// The file cannot be read or has a wrong entry; the message names it.
    pub fn load(path: Option<&Path>) -> Result<Self, CatalogueError> {
        let own = match path {
            None => None,
            Some(path) => {
                let origin = path.display().to_string();
                let text = std::fs::read_to_string(path)
                    .map_err(|source| CatalogueError::Read { path: origin.clone(), source })?;
                Some((origin, text))
            }
        };
        Self::parse(own.as_ref().map(|(origin, text)| (origin.as_str(), text.as_str())))
    }

    fn parse(own: Option<(&str, &str)>) -> Result<Self, CatalogueError> {
        let mut all = Self { default: String::new(), instances: BTreeMap::new() };
        for (origin, text) in [Some(("the built-in catalogue", BUILT_IN)), own].into_iter().flatten() {
            let parsed: File = serde_saphyr::from_str(text).map_err(|source| CatalogueError::Parse {
                origin: origin.to_owned(),
                source: source.into(),
            })?;
            for (name, entry) in parsed.instances {
                entry.check().map_err(|problem| CatalogueError::Entry {
                    origin: origin.to_owned(),
                    name: name.clone(),
                    problem,
                })?;
                all.instances.insert(name, entry);
            }
            all.default = parsed.default.unwrap_or(all.default);
        }
        if !all.instances.contains_key(&all.default) {
            return Err(CatalogueError::Default { name: all.default });
        }
        Ok(all)
    }

    /// The entry of a name; the default one for `None`.
    pub fn get(&self, name: Option<&str>) -> Option<&InstanceType> {
        self.instances.get(name.unwrap_or(&self.default))
    }

    /// Names that resemble `name` (the same family), or all, for a message.
    pub fn suggestions(&self, name: &str) -> Vec<&str> {
        let family = name.rsplit_once('.').map_or(name, |(family, _)| family);
        let near: Vec<&str> =
            self.instances.keys().map(String::as_str).filter(|known| known.starts_with(family)).collect();
        if near.is_empty() { self.instances.keys().map(String::as_str).collect() } else { near }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn built_in_types_say_what_a_pod_gets() {
        let catalogue = Catalogue::parse(None).unwrap();
        let gpu = catalogue.get(Some("ml.g5.2xlarge")).unwrap();
        assert_eq!(gpu.device(), Device::Cuda);
        let resources = gpu.resources();
        assert_eq!(resources.limits.unwrap()[GPU_RESOURCE].0, "1");
        assert_eq!(resources.requests.unwrap()["cpu"].0, "7500m");
        let small = catalogue.get(None).unwrap();
        assert_eq!(small.device(), Device::Cpu);
        assert_eq!(small.resources().limits.unwrap()["memory"].0, "4Gi");
        assert_eq!(catalogue.suggestions("ml.p4d.huge"), ["ml.p4d.24xlarge"]);
        assert!(catalogue.suggestions("z1d").len() > 20);
    }

    #[test]
    fn an_own_file_adds_replaces_and_chooses_the_default() {
        let own = "default: big\ninstances:\n  big: {cpu: 8, memory: 64Gi, gpus: 2, nodeSelector: {pool: gpu}, \
                   tolerations: [{key: gpu, operator: Exists}]}\n  ml.m5.large: {cpu: 1, memory: 1Gi}\n";
        let catalogue = Catalogue::parse(Some(("own.yaml", own))).unwrap();
        assert_eq!(catalogue.get(None).unwrap().gpus, 2);
        assert_eq!(catalogue.get(Some("ml.m5.large")).unwrap().cpu, "1");
        assert!(catalogue.get(Some("cpu.small")).is_some());
    }

    #[test]
    fn a_wrong_file_is_explained() {
        let cases = [
            ("instances: {x: {cpu: lots, memory: 1Gi}}", "instance type x in own.yaml: cpu is \"lots\""),
            ("instances: {x: {cpu: 1, memory: 1Gi, gpu: 1}}", "own.yaml is no instance catalogue"),
            ("default: none", "default instance type none is not in the catalogue"),
        ];
        for (text, want) in cases {
            let error = Catalogue::parse(Some(("own.yaml", text))).unwrap_err().to_string();
            assert!(error.contains(want), "{error}");
        }
    }
}
