//! Reading an adapter's file.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::inspect::{Family, Kind, family_of, kind_of};
use crate::weights::{Weights, WeightsBuilder, read_header};

use super::error::AdapterError;
use super::factors::{Factor, Module};
use super::gather::Parts;
use super::keys::{Part, locate, split};
use super::names::Component;
use super::peft::PeftConfigs;

/// Most numbers of an adapter, 4 GiB as f32. The largest LoRA files known hold 900 million.
const MAX_ELEMENTS: u64 = 1 << 30;

/// An adapter as its file has it, in f32; it may be shared and used with several models at once.
#[derive(Debug)]
pub struct Adapter {
    pub(super) path: String,
    pub(super) identity: Identity,
    pub(super) family: Family,
    pub(super) modules: Vec<Module>,
    /// Keys that mean nothing here.
    pub(super) unknown: Vec<String>,
}

/// What tells two adapters apart, also when they have the same name.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) enum Identity {
    Sha256(String),
    /// Counted up at each load, for files whose hash nobody knows.
    Load(u64),
}

impl Identity {
    pub(crate) fn new(sha256: Option<&str>) -> Self {
        static LOADS: AtomicU64 = AtomicU64::new(0);
        match sha256 {
            Some(hash) => Self::Sha256(hash.to_ascii_lowercase()),
            None => Self::Load(LOADS.fetch_add(1, Ordering::Relaxed)),
        }
    }
}

impl Adapter {
    /// Reads an adapter of any of the layouts; `sha256`, if known, lets networks be shared with another
    /// load of the same file.
    ///
    /// # Errors
    /// The file is unreadable, hostile, no adapter, or its factors do not go together.
    pub fn load(path: &Path, sha256: Option<&str>) -> Result<Self, AdapterError> {
        let file = read_header(path)?;
        let path = path.display().to_string();
        let kind = kind_of(&file.header);
        let family = family_of(&file.header, Kind::Lora);
        let elements = file.header.tensors.values().fold(0_u64, |sum, t| sum.saturating_add(t.elements()));
        if matches!(kind, Kind::Checkpoint | Kind::Unet | Kind::ControlNet | Kind::Vae | Kind::TextEncoder) {
            return Err(AdapterError::NotAnAdapter { path, kind });
        }
        if elements > MAX_ELEMENTS {
            return Err(AdapterError::TooLarge { path, elements, limit: MAX_ELEMENTS });
        }
        let peft = PeftConfigs::read(&file.header.metadata);
        let mut groups: BTreeMap<String, Group> = BTreeMap::new();
        let mut unknown = Vec::new();
        for key in file.header.tensors.keys() {
            let place = split(key).and_then(|(stem, part)| Some((stem, part, locate(stem)?)));
            let Some((stem, part, (component, path))) = place else {
                unknown.push(key.clone());
                continue;
            };
            let group =
                groups.entry(stem.to_owned()).or_insert_with(|| Group { component, path, keys: Vec::new() });
            group.keys.push((key.clone(), part));
        }
        let mut builder = WeightsBuilder::default();
        builder.add(file, |name| Some(name.to_owned()))?;
        let weights = builder.build();
        let mut modules = Vec::new();
        for (stem, Group { component, path, keys }) in groups {
            let mut parts = read_parts(&weights, keys, &mut unknown)?;
            let module = parts.module(&stem, component, path, &peft)?;
            unknown.extend(parts.factors.into_values().map(|f| f.key));
            if module.factors.is_some() || module.bias.is_some() {
                modules.push(module);
            }
        }
        if modules.is_empty() {
            return Err(AdapterError::NotAnAdapter { path, kind });
        }
        Ok(Self { path, identity: Identity::new(sha256), family, modules, unknown })
    }

    /// The family that the file's shapes tell.
    pub fn family(&self) -> Family {
        self.family
    }

    /// How many modules it changes.
    pub fn modules(&self) -> usize {
        self.modules.len()
    }

    /// Keys of the file that are of no use.
    pub fn unknown(&self) -> &[String] {
        &self.unknown
    }

    pub(crate) fn identity(&self) -> &Identity {
        &self.identity
    }
}

/// The keys of one module.
struct Group {
    component: Component,
    path: String,
    keys: Vec<(String, Part)>,
}

/// Reads a module's tensors; keys that are there twice, and weights that are nobody's, go to `unknown`.
fn read_parts(
    weights: &Weights,
    keys: Vec<(String, Part)>,
    unknown: &mut Vec<String>,
) -> Result<Parts, AdapterError> {
    let mut parts = Parts::default();
    let is_ia3 = keys.iter().any(|(_, part)| *part == Part::OnInput);
    for (key, part) in keys {
        match part {
            Part::Alpha => parts.alpha = Some(weights.number(&key)?),
            Part::Scale => parts.scale = Some(weights.number(&key)?),
            Part::OnInput => parts.on_input = Some(weights.number(&key)? != 0.0),
            Part::Weight if !is_ia3 => unknown.push(key),
            _ if parts.factors.contains_key(&part) => unknown.push(key),
            _ => {
                let tensor = weights.tensor(&key)?;
                parts.factors.insert(part, Factor { key, shape: tensor.dims().to_vec(), tensor });
            }
        }
    }
    Ok(parts)
}
