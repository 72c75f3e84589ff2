//! What prompts may name: adapters, hypernetworks and embeddings.

use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};

use crate::adapters::{Adapter, Hypernetwork};
use crate::output::Credits;
use crate::text::{Embedding, EmbeddingError, EmbeddingSet, ExtraNetwork, ExtraNetworkKind};
use crate::weights::Padding;

use super::prompts::Plans;
use super::request::RequestError;
use super::separate_vae::SeparateVae;
use super::variants::{AdapterUse, HypernetworkUse, VariantKey};

/// Loaded files under the names that `<lora:name:1>`, `<hypernet:name:1>` and embeddings have in prompts.
/// Names are compared as they are.
#[derive(Debug, Default)]
pub struct Library {
    adapters: BTreeMap<String, Arc<Adapter>>,
    hypernetworks: BTreeMap<String, Arc<Hypernetwork>>,
    embeddings: EmbeddingSet,
    /// Hashes by kind and name, as far as they were told.
    hashes: BTreeMap<(Credited, String), String>,
}

/// A kind of files whose hashes stand in the pictures' parameters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Credited {
    Adapter,
    Embedding,
    /// The autoencoder of [`super::Surroundings::vae`].
    Vae,
}

impl Library {
    /// One without anything.
    pub fn empty() -> &'static Self {
        static EMPTY: OnceLock<Library> = OnceLock::new();
        EMPTY.get_or_init(Self::default)
    }

    /// Replaces an adapter of the same name.
    pub fn add_adapter(&mut self, name: &str, adapter: Arc<Adapter>) {
        self.adapters.insert(name.to_owned(), adapter);
    }

    /// Replaces a hypernetwork of the same name.
    pub fn add_hypernetwork(&mut self, name: &str, network: Arc<Hypernetwork>) {
        self.hypernetworks.insert(name.to_owned(), network);
    }

    /// Adds an embedding under its own name.
    ///
    /// # Errors
    /// The name has no tokens.
    pub fn add_embedding(&mut self, embedding: Arc<Embedding>) -> Result<(), EmbeddingError> {
        self.embeddings.insert(embedding)
    }

    /// Tells the hash of a file of that name, in hexadecimal digits, for the pictures' parameters. A1111 gives of
    /// adapters that of everything behind the safetensors header, and of other files that of the whole.
    pub fn credit(&mut self, kind: Credited, name: &str, hash: &str) {
        self.hashes.insert((kind, name.to_owned()), hash.to_owned());
    }

    /// The files with known hashes that take part in a pass.
    pub(super) fn credits(&self, plans: &Plans) -> Credits {
        let hash = |kind, name: &str| {
            let hash = self.hashes.get(&(kind, name.to_owned()))?;
            Some((name.to_owned(), hash.clone()))
        };
        let mut credits = Credits::default();
        for network in plans.positive.networks() {
            let known =
                hash(Credited::Adapter, &network.name).filter(|_| network.kind == ExtraNetworkKind::Lora);
            credits.adapters.extend(known.filter(|one| !credits.adapters.contains(one)));
        }
        let parts = plans.positive.parts().iter().chain(plans.negative.parts());
        for text in parts.flat_map(|part| &part.schedule).map(|step| step.text.as_str()) {
            for embedding in self.embeddings.named_in(text) {
                let known = hash(Credited::Embedding, embedding.name());
                credits.embeddings.extend(known.filter(|one| !credits.embeddings.contains(one)));
            }
        }
        let vae = self.hashes.iter().find(|((kind, _), _)| *kind == Credited::Vae);
        credits.vae = vae.map(|((_, name), hash)| (name.clone(), hash.clone()));
        credits
    }

    pub(super) fn embeddings(&self) -> &EmbeddingSet {
        &self.embeddings
    }

    /// What the tags of a prompt ask for; of a name that stands twice the last one counts, as in A1111.
    ///
    /// # Errors
    /// A name that is not in the library.
    pub(super) fn key(
        &self,
        networks: &[ExtraNetwork],
        tiling: bool,
        vae: Option<&Arc<SeparateVae>>,
    ) -> Result<VariantKey, RequestError> {
        let padding = if tiling { Padding::Circular } else { Padding::Zeros };
        let mut key = VariantKey { padding, vae: vae.cloned(), ..Default::default() };
        for (i, network) in networks.iter().enumerate() {
            let again = |later: &ExtraNetwork| later.kind == network.kind && later.name == network.name;
            if networks[i + 1..].iter().any(again) {
                continue;
            }
            if network.rank.is_some() {
                return Err(RequestError::NetworkRank { name: network.name.clone() });
            }
            match network.kind {
                ExtraNetworkKind::Lora => key.adapters.push(AdapterUse {
                    adapter: find(&self.adapters, "lora", &network.name)?,
                    unet_weight: network.unet_weight,
                    text_weight: network.text_weight,
                }),
                ExtraNetworkKind::Hypernet => key.hypernetworks.push(HypernetworkUse {
                    network: find(&self.hypernetworks, "hypernet", &network.name)?,
                    strength: network.unet_weight,
                }),
            }
        }
        Ok(key)
    }
}

fn find<T>(all: &BTreeMap<String, Arc<T>>, kind: &'static str, name: &str) -> Result<Arc<T>, RequestError> {
    all.get(name).cloned().ok_or_else(|| {
        let known: Vec<&str> = all.keys().take(20).map(String::as_str).collect();
        RequestError::UnknownNetwork { kind, name: name.to_owned(), known: known.join(", ") }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_are_not_there_are_errors() {
        let network = |rank| ExtraNetwork {
            kind: ExtraNetworkKind::Lora,
            name: "ink".into(),
            unet_weight: 1.0,
            text_weight: 1.0,
            rank,
        };
        let refused = |rank| Library::empty().key(&[network(rank)], false, None).unwrap_err();
        assert_eq!(
            refused(None).to_string(),
            "the prompt asks for `<lora:ink>`, which is not loaded; loaded are: none"
        );
        assert_eq!(refused(Some(4)).reason(), "NetworkRank");
        let key = Library::empty().key(&[], true, None).unwrap();
        assert_eq!((key.padding, key.adapters.len()), (Padding::Circular, 0));
    }
}
