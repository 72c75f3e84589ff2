//! Networks with adapters, hypernetworks, another autoencoder or another padding, kept while they are used.
//!
//! A variant shares every tensor that it does not change with the model's own networks, which are never
//! written: the pictures without an adapter are bit for bit what they were before it.

use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use crate::adapters::{
    Adapter, AdapterError, FittedAdapter, Hypernetwork, HypernetworkError, Identity, ModelNames,
};
use crate::weights::{BuildOptions, Padding, WeightError};

use super::load::Pipeline;
use super::networks::Networks;
use super::separate_vae::{SeparateVae, VaeFileError};

/// Variants kept besides the model itself. Each holds its changed tensors, up to the size of the UNet in
/// f32; with only one, two jobs in turn would build theirs for every picture.
const KEPT: usize = 3;

/// An adapter and how strongly it acts.
#[derive(Debug, Clone)]
pub struct AdapterUse {
    pub adapter: Arc<Adapter>,
    /// 0 changes nothing, 1 is as trained.
    pub unet_weight: f32,
    /// The same for the text encoders.
    pub text_weight: f32,
}

/// A hypernetwork and how strongly it acts.
#[derive(Debug, Clone)]
pub struct HypernetworkUse {
    pub network: Arc<Hypernetwork>,
    pub strength: f32,
}

/// How networks differ from those of the model's files; the default does not.
#[derive(Debug, Clone, Default)]
pub struct VariantKey {
    /// Applied in this order.
    pub adapters: Vec<AdapterUse>,
    pub hypernetworks: Vec<HypernetworkUse>,
    pub padding: Padding,
    /// Instead of the model's own.
    pub vae: Option<Arc<SeparateVae>>,
}

/// Why networks cannot be built with what was asked for.
#[derive(Debug, thiserror::Error)]
pub enum VariantError {
    #[error(transparent)]
    Adapter(#[from] AdapterError),
    #[error(transparent)]
    Hypernetwork(#[from] HypernetworkError),
    #[error(transparent)]
    Vae(#[from] VaeFileError),
    #[error(transparent)]
    Weights(Box<WeightError>),
}

impl From<WeightError> for VariantError {
    fn from(error: WeightError) -> Self {
        Self::Weights(Box::new(error))
    }
}

impl VariantError {
    /// Stable CamelCase word for statuses and metrics.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::Adapter(e) => e.reason(),
            Self::Hypernetwork(e) => e.reason(),
            Self::Vae(e) => e.reason(),
            Self::Weights(e) => e.reason(),
        }
    }

    /// Does trying again with the same files make sense?
    pub fn retriable(&self) -> bool {
        match self {
            Self::Adapter(e) => e.retriable(),
            Self::Hypernetwork(e) => e.retriable(),
            Self::Vae(e) => e.retriable(),
            Self::Weights(e) => e.retriable(),
        }
    }
}

/// What a key is compared by: what acts, in its order, and the bits of its strengths.
#[derive(Debug, Clone, PartialEq, Default)]
struct Comparable {
    adapters: Vec<(Identity, [u32; 2])>,
    hypernetworks: Vec<(Identity, u32)>,
    padding: Padding,
    vae: Option<Identity>,
}

impl VariantKey {
    fn active_adapters(&self) -> impl Iterator<Item = &AdapterUse> {
        self.adapters.iter().filter(|a| a.unet_weight != 0.0 || a.text_weight != 0.0)
    }

    fn active_hypernetworks(&self) -> impl Iterator<Item = &HypernetworkUse> {
        self.hypernetworks.iter().filter(|h| h.strength != 0.0)
    }

    fn comparable(&self) -> Comparable {
        let adapter = |a: &AdapterUse| {
            (a.adapter.identity().clone(), [a.unet_weight.to_bits(), a.text_weight.to_bits()])
        };
        Comparable {
            adapters: self.active_adapters().map(adapter).collect(),
            hypernetworks: self
                .active_hypernetworks()
                .map(|h| (h.network.identity().clone(), h.strength.to_bits()))
                .collect(),
            padding: self.padding,
            vae: self.vae.as_ref().map(|v| v.identity().clone()),
        }
    }
}

/// Built by the first who asks; others wait for that and not for other variants.
type Slot = Arc<Mutex<Option<Arc<Networks>>>>;

/// A variant, or the place for one that is being built.
#[derive(Debug)]
struct Kept {
    key: Comparable,
    slot: Slot,
    /// What it takes besides the model.
    bytes: u64,
}

/// The variants of one model, the most recently used last.
#[derive(Debug, Default)]
pub(super) struct VariantCache {
    entries: Mutex<Vec<Kept>>,
    names: OnceLock<ModelNames>,
}

impl VariantCache {
    /// `bytes` is asked for a variant that is not here.
    fn slot(
        &self,
        key: &Comparable,
        bytes: impl FnOnce() -> Result<u64, AdapterError>,
    ) -> Result<Slot, AdapterError> {
        let mut entries = self.entries();
        let kept = match entries.iter().position(|kept| kept.key == *key) {
            Some(at) => entries.remove(at),
            None => Kept { key: key.clone(), slot: Slot::default(), bytes: bytes()? },
        };
        let slot = Arc::clone(&kept.slot);
        entries.push(kept);
        let excess = entries.len().saturating_sub(KEPT);
        entries.drain(..excess);
        Ok(slot)
    }

    fn forget(&self, slot: &Slot) {
        self.entries().retain(|kept| !Arc::ptr_eq(&kept.slot, slot));
    }

    /// Lets variants go, the least recently used first, until those that are left besides that of `spared` take
    /// `most` bytes.
    fn shrink(&self, most: u64, spared: Option<&Comparable>) {
        let mut entries = self.entries();
        let other = |kept: &Kept| spared != Some(&kept.key);
        while entries.iter().filter(|kept| other(kept)).map(|kept| kept.bytes).sum::<u64>() > most
            && let Some(at) = entries.iter().position(other)
        {
            entries.remove(at);
        }
    }

    fn entries(&self) -> std::sync::MutexGuard<'_, Vec<Kept>> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Pipeline {
    /// Checks an adapter against this model.
    ///
    /// # Errors
    /// It is for another model.
    pub fn fit(&self, adapter: &Arc<Adapter>) -> Result<FittedAdapter, AdapterError> {
        adapter.fit(self.variants.names.get_or_init(|| ModelNames::of(&self.blueprint.weights)))
    }

    /// The networks for a key, kept for the next one who asks for the same; the model's own if the key
    /// changes nothing. Networks stay alive as long as somebody holds them, whether kept here or not.
    ///
    /// # Errors
    /// An adapter, hypernetwork or autoencoder is for another model.
    pub fn variant(&self, key: &VariantKey) -> Result<Arc<Networks>, VariantError> {
        let comparable = key.comparable();
        if comparable == Comparable::default() {
            return Ok(Arc::clone(&self.base));
        }
        let slot = self.variants.slot(&comparable, || self.variant_bytes(key))?;
        let mut kept = slot.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(networks) = &*kept {
            return Ok(Arc::clone(networks));
        }
        match self.build_variant(key) {
            Ok(networks) => Ok(Arc::clone(kept.insert(Arc::new(networks)))),
            Err(e) => {
                self.variants.forget(&slot);
                Err(e)
            }
        }
    }

    /// Memory that the networks of a key take besides the model's own, from above: tensors that several
    /// adapters change count for each of them.
    ///
    /// # Errors
    /// An adapter is for another model.
    pub fn variant_bytes(&self, key: &VariantKey) -> Result<u64, AdapterError> {
        let mut bytes = 0_u64;
        for used in key.active_adapters() {
            bytes = bytes.saturating_add(self.fit(&used.adapter)?.changed_bytes());
        }
        let vae = key.vae.as_ref().map_or(0, |vae| vae.bytes());
        Ok(bytes.min(self.weight_bytes).saturating_add(vae))
    }

    /// Memory of the variants that are kept for the next who asks, besides the model's own.
    pub fn kept_variant_bytes(&self) -> u64 {
        self.variants.entries().iter().map(|kept| kept.bytes).sum()
    }

    /// Lets kept variants go, the least recently used first, until they take `most` bytes or less. Those that are
    /// in use stay alive as long as they are.
    pub fn shrink_variants(&self, most: u64) {
        self.variants.shrink(most, None);
    }

    /// Makes room for the networks of `key` beside `needed` bytes, where there is a limit.
    pub(super) fn make_room(&self, key: &VariantKey, needed: u64) {
        if let Some(limit) = self.options.memory_limit_bytes {
            self.variants.shrink(limit.saturating_sub(needed), Some(&key.comparable()));
        }
    }

    fn build_variant(&self, key: &VariantKey) -> Result<Networks, VariantError> {
        let mut options = BuildOptions { padding: key.padding, ..Default::default() };
        for AdapterUse { adapter, unet_weight, text_weight } in key.active_adapters() {
            options.patches.push(self.fit(adapter)?.patch(*unet_weight, *text_weight));
        }
        for HypernetworkUse { network, strength } in key.active_hypernetworks() {
            self.check_hypernetwork(network)?;
            options.contexts.push(network.patch(*strength));
        }
        let options = Arc::new(options);
        let mut networks = self.blueprint.build(Arc::clone(&options))?;
        if let Some(vae) = &key.vae {
            networks.vae = vae.build(self.base.vae.config(), options)?;
        }
        Ok(networks)
    }

    /// A hypernetwork of another family would change nothing at all, or only the self-attention.
    fn check_hypernetwork(&self, network: &Hypernetwork) -> Result<(), HypernetworkError> {
        let config = self.base.unet.config();
        let context = config.context;
        if network.widths().any(|w| w == context) || network.widths().all(|w| config.channels.contains(&w)) {
            return Ok(());
        }
        Err(HypernetworkError::OtherModel { widths: network.widths().collect(), context })
    }
}
