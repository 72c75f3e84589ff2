//! Latents that were computed once: in memory, and in a folder if there is one.
//!
//! A file in the folder is written beside its place and renamed, so a crash leaves none that is half; one
//! that is damaged is computed anew.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use candle_core::Tensor;
use sha2::{Digest, Sha256};

use super::dataset::{Dataset, Sample};
use super::digest::hex;
use super::error::DataError;
use super::picture::{Crop, Placed};
use crate::weights::{WeightsBuilder, read_header};

/// Most bytes of latents kept in memory: sixteen thousand pictures of 512x512.
const MAX_MEMORY_BYTES: usize = 1 << 30;
/// The tensor's name in a file.
const NAME: &str = "latent";

/// Keyed by picture, place in its bucket, and autoencoder.
#[derive(Debug)]
pub struct LatentCache {
    /// Tells one autoencoder from another.
    autoencoder: String,
    folder: Option<PathBuf>,
    kept: HashMap<([u8; 32], Placed), Tensor>,
    bytes: usize,
}

impl LatentCache {
    /// `autoencoder` is a text that changes with its weights, such as a digest of the file.
    ///
    /// # Errors
    /// The folder cannot be made.
    pub fn new(autoencoder: impl Into<String>, folder: Option<PathBuf>) -> Result<Self, DataError> {
        if let Some(folder) = &folder {
            std::fs::create_dir_all(folder)
                .map_err(|source| DataError::Cache { path: folder.clone(), source })?;
        }
        Ok(Self { autoencoder: autoencoder.into(), folder, kept: HashMap::new(), bytes: 0 })
    }

    /// The latent of a sample, from the cache or by `encode`, which gets `[1, 3, height, width]`.
    ///
    /// # Errors
    /// The picture cannot be read, `encode` fails, or the folder cannot be written.
    pub fn latent<E: From<DataError>>(
        &mut self,
        dataset: &Dataset,
        sample: &Sample,
        encode: impl FnOnce(&Tensor) -> Result<Tensor, E>,
    ) -> Result<Tensor, E> {
        if dataset.options().crop == Crop::Random {
            return encode(&dataset.pixels(sample)?);
        }
        let key = (dataset.items()[sample.item].sha256, sample.placed);
        if let Some(latent) = self.kept.get(&key) {
            return Ok(latent.clone());
        }
        let path = self.folder.as_ref().map(|folder| folder.join(self.file_name(&key)));
        if let Some(latent) = path.as_deref().and_then(read) {
            self.keep(key, &latent);
            return Ok(latent);
        }
        let latent = encode(&dataset.pixels(sample)?)?;
        if let Some(path) = &path {
            write(path, &latent).map_err(|source| DataError::Cache { path: path.clone(), source })?;
        }
        self.keep(key, &latent);
        Ok(latent)
    }

    fn keep(&mut self, key: ([u8; 32], Placed), latent: &Tensor) {
        let bytes = latent.elem_count() * 4;
        if self.bytes + bytes <= MAX_MEMORY_BYTES {
            self.bytes += bytes;
            self.kept.insert(key, latent.clone());
        }
    }

    fn file_name(&self, (picture, placed): &([u8; 32], Placed)) -> String {
        let mut hash = Sha256::new();
        hash.update(picture);
        hash.update(format!("{placed:?} {}", self.autoencoder));
        format!("{}.safetensors", hex(&hash.finalize()[..16]))
    }
}

/// `None` for what is missing or damaged.
fn read(path: &Path) -> Option<Tensor> {
    let mut builder = WeightsBuilder::default();
    builder.add(read_header(path).ok()?, |name| Some(name.to_owned())).ok()?;
    builder.build().tensor(NAME).ok()
}

fn write(path: &Path, latent: &Tensor) -> std::io::Result<()> {
    let half = path.with_extension(format!("{}.part", std::process::id()));
    let tensors = HashMap::from([(NAME, latent.clone())]);
    candle_core::safetensors::save(&tensors, &half).map_err(std::io::Error::other)?;
    std::fs::rename(&half, path)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::train::data::{Concept, DatasetOptions, Role};
    use std::cell::Cell;

    #[test]
    fn a_latent_is_computed_once_and_again_only_where_its_file_is_damaged() {
        let (pictures, kept) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        image::RgbImage::new(64, 64).save(pictures.path().join("a.png")).unwrap();
        let concept = Concept { caption: Some("a".into()), ..Concept::new(pictures.path(), Role::Subject) };
        let options = DatasetOptions { resolution: 64, ..DatasetOptions::default() };
        let set = Dataset::open(std::slice::from_ref(&concept), options.clone()).unwrap();
        let (samples, _) = set.batch(1, 0).unwrap();
        let calls = Cell::new(0);
        let ask = |cache: &mut LatentCache, set: &Dataset, sample: &Sample| {
            let latent = cache.latent(set, sample, |pixels| {
                calls.set(calls.get() + 1);
                Ok::<_, DataError>(pixels.narrow(1, 0, 1).unwrap().contiguous().unwrap())
            });
            latent.unwrap().flatten_all().unwrap().to_vec1::<f32>().unwrap()
        };
        let open = |vae: &str| LatentCache::new(vae, Some(kept.path().to_owned())).unwrap();
        let mut cache = open("vae 1");
        let first = ask(&mut cache, &set, &samples[0]);
        assert_eq!((ask(&mut cache, &set, &samples[0]), calls.get()), (first.clone(), 1));
        assert_eq!((ask(&mut open("vae 1"), &set, &samples[0]), calls.get()), (first.clone(), 1));
        ask(&mut open("vae 2"), &set, &samples[0]);
        assert_eq!(calls.get(), 2);
        for entry in std::fs::read_dir(kept.path()).unwrap() {
            std::fs::write(entry.unwrap().path(), "damaged").unwrap();
        }
        assert_eq!((ask(&mut open("vae 1"), &set, &samples[0]), calls.get()), (first, 3));
        let random = Dataset::open(&[concept], DatasetOptions { crop: Crop::Random, ..options }).unwrap();
        let (samples, _) = random.batch(1, 0).unwrap();
        ask(&mut cache, &random, &samples[0]);
        ask(&mut cache, &random, &samples[0]);
        assert_eq!(calls.get(), 5);
    }
}
