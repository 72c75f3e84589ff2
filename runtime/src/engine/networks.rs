//! Networks of the real engine: read from their files, and put together for one request.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::Path;
use std::sync::Arc;

use easel_diffusion::adapters::{Adapter, Hypernetwork};
use easel_diffusion::pipeline::{Credited, SeparateVae};
use easel_diffusion::text::Embedding;
use easel_diffusion::{Library, Pipeline};
use easel_protocol::NetworkKind;
use sha2::{Digest, Sha256};

use super::api::{EngineError, LoadedNetwork, ModelLabel, NamedNetwork};
use crate::error::chain;

/// Weights are kept as f32, most files have them in half of that.
const WIDENING: u64 = 2;
/// Longest header of a safetensors file, as the format's own library has it.
const MAX_HEADER: u64 = 100_000_000;

/// A network that was read.
pub(super) struct Network {
    weights: Weights,
    /// As A1111 counts it for files of this kind; none where it cannot be read.
    hash: Option<String>,
    bytes: u64,
}

enum Weights {
    Adapter(Arc<Adapter>),
    Hypernetwork(Arc<Hypernetwork>),
    Embedding(Arc<Embedding>),
    Vae(Arc<SeparateVae>),
}

impl LoadedNetwork for Network {
    fn bytes(&self) -> u64 {
        self.bytes
    }
}

/// A failure of the engine with its own words.
macro_rules! refused {
    () => {
        |error| EngineError::failed(error.reason(), chain(&error), error.retriable())
    };
}

impl Network {
    /// Reads the file of a network.
    ///
    /// # Errors
    /// It is unreadable, or holds something else.
    pub(super) fn load(path: &Path, kind: NetworkKind, label: &ModelLabel) -> Result<Self, EngineError> {
        let sha256 = label.sha256.as_deref();
        let weights = match kind {
            NetworkKind::Lora => Weights::Adapter(Arc::new(Adapter::load(path, sha256).map_err(refused!())?)),
            NetworkKind::Hypernetwork => {
                Weights::Hypernetwork(Arc::new(Hypernetwork::load(path, sha256).map_err(refused!())?))
            }
            NetworkKind::TextualInversion => {
                Weights::Embedding(Arc::new(Embedding::load(path, &label.file_name).map_err(refused!())?))
            }
            NetworkKind::Vae => Weights::Vae(Arc::new(SeparateVae::load(path, sha256).map_err(refused!())?)),
        };
        let hash = match kind {
            NetworkKind::Lora => hash_behind_header(path).ok().flatten(),
            _ => label.sha256.clone(),
        };
        let bytes = std::fs::metadata(path).map_or(0, |file| file.len()).saturating_mul(WIDENING);
        Ok(Self { weights, hash, bytes })
    }
}

/// SHA-256 of a safetensors file without its header: A1111's `modules/hashes.py` (`addnet_hash_safetensors`), which
/// stays the same when somebody changes the metadata. `None`: the file has no such header.
fn hash_behind_header(path: &Path) -> io::Result<Option<String>> {
    let mut file = File::open(path)?;
    let mut length = [0; 8];
    if file.read_exact(&mut length).is_err() {
        return Ok(None);
    }
    let header = u64::from_le_bytes(length);
    if header > MAX_HEADER {
        return Ok(None);
    }
    file.seek(SeekFrom::Start(8 + header))?;
    let mut hasher = Sha256::new();
    let mut block = vec![0; 1 << 20];
    loop {
        match file.read(&mut block)? {
            0 => return Ok(Some(hex::encode(hasher.finalize()))),
            count => hasher.update(&block[..count]),
        }
    }
}

/// What a request's prompts may name, and the autoencoder that it chose.
pub(super) struct Scene {
    pub(super) library: Library,
    pub(super) vae: Option<Arc<SeparateVae>>,
}

impl Scene {
    /// An embedding of another family than the model's is left out, as A1111 does: its word may well be a word.
    ///
    /// # Errors
    /// A network is of another engine, or no prompt can say an embedding's name.
    pub(super) fn new(pipeline: &Pipeline, networks: &[NamedNetwork]) -> Result<Self, EngineError> {
        let mut scene = Self { library: Library::default(), vae: None };
        for NamedNetwork { kind, name, network } in networks {
            let network: &dyn std::any::Any = &**network;
            let Some(Network { weights, hash, .. }) = network.downcast_ref() else {
                let message = format!("{kind:?} {name} was loaded by another engine");
                return Err(EngineError::failed("NetworkOfOtherEngine", message, false));
            };
            let credited = scene.add(pipeline, name, weights)?;
            if let Some((kind, hash)) = credited.zip(hash.as_deref()) {
                scene.library.credit(kind, name, hash);
            }
        }
        Ok(scene)
    }

    /// Returns as what it stands in the pictures' parameters.
    fn add(
        &mut self,
        pipeline: &Pipeline,
        name: &str,
        weights: &Weights,
    ) -> Result<Option<Credited>, EngineError> {
        match weights {
            Weights::Adapter(adapter) => {
                self.library.add_adapter(name, adapter.clone());
                Ok(Some(Credited::Adapter))
            }
            Weights::Hypernetwork(network) => {
                self.library.add_hypernetwork(name, network.clone());
                Ok(None)
            }
            Weights::Embedding(embedding) => {
                if let Err(error) = pipeline.text_encoder().check(embedding) {
                    tracing::info!(name, error = %chain(&error), "an embedding is passed over");
                    return Ok(None);
                }
                self.library.add_embedding(Arc::new(embedding.called(name))).map_err(refused!())?;
                Ok(Some(Credited::Embedding))
            }
            Weights::Vae(vae) => {
                self.vae = Some(vae.clone());
                Ok(Some(Credited::Vae))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hash_of_an_adapter_leaves_its_header_out() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("x");
        let hash = |bytes: &[u8]| {
            std::fs::write(&path, bytes).unwrap();
            hash_behind_header(&path).unwrap()
        };
        let data = hex::encode(Sha256::digest(b"data"));
        assert_eq!(hash(b"\x02\0\0\0\0\0\0\0{}data"), Some(data.clone()));
        assert_eq!(hash(b"\x03\0\0\0\0\0\0\0{ }data"), Some(data));
        assert_eq!(hash(b"\x02\0\0\0"), None, "too short");
        assert_eq!(hash(b"\xff\xff\xff\xff\xff\xff\xff\xffdata"), None, "no length of a header");
    }
}
