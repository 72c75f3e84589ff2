//! Textual inversion from a file, safetensors or pickle.

use std::path::Path;

use crate::weights::{WeightError, WeightsBuilder, read_header};

use super::embedding::Embedding;
use super::error::EmbeddingError;

/// Most elements of a tensor that may be an embedding: checked before any is read.
const MAX_ELEMENTS: u64 = 1 << 22;
/// Most tensors of such a file.
const MAX_TENSORS: usize = 64;

/// Why a file gives no embedding.
#[derive(Debug, thiserror::Error)]
pub enum EmbeddingFileError {
    #[error(transparent)]
    Weights(#[from] WeightError),
    #[error(transparent)]
    Embedding(#[from] EmbeddingError),
    #[error("{path} is no embedding: {found}, the limit is {limit}")]
    TooLarge { path: String, found: String, limit: u64 },
}

impl EmbeddingFileError {
    /// Stable CamelCase word for statuses and metrics.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::Weights(e) => e.reason(),
            Self::Embedding(e) => e.reason(),
            Self::TooLarge { .. } => "NotAnEmbedding",
        }
    }

    /// Only what the disk did may go away by itself.
    pub fn retriable(&self) -> bool {
        match self {
            Self::Weights(e) => e.retriable(),
            Self::Embedding(_) | Self::TooLarge { .. } => false,
        }
    }
}

impl Embedding {
    /// Reads the file of an embedding; `name` is what prompts call it, as a rule the file's name without
    /// its ending.
    ///
    /// # Errors
    /// The file is unreadable, hostile, or holds something else.
    pub fn load(path: &Path, name: &str) -> Result<Self, EmbeddingFileError> {
        let file = read_header(path)?;
        let too_large = |found: String, limit: u64| {
            Err(EmbeddingFileError::TooLarge { path: path.display().to_string(), found, limit })
        };
        let tensors = &file.header.tensors;
        if tensors.len() > MAX_TENSORS {
            return too_large(format!("it has {} tensors", tensors.len()), MAX_TENSORS as u64);
        }
        if let Some((key, entry)) = tensors.iter().find(|(_, entry)| entry.elements() > MAX_ELEMENTS) {
            return too_large(format!("`{key}` has {} elements", entry.elements()), MAX_ELEMENTS);
        }
        // Ids of tokens are whole numbers, and nobody needs them.
        let floats: Vec<String> =
            tensors.iter().filter(|(_, e)| e.dtype.is_float()).map(|(key, _)| key.clone()).collect();
        let mut builder = WeightsBuilder::default();
        builder.add(file, |key| floats.iter().any(|float| float == key).then(|| key.to_owned()))?;
        let weights = builder.build();
        let read = floats.into_iter().map(|key| weights.tensor(&key).map(|tensor| (key, tensor)));
        Ok(Self::from_tensors(name, read.collect::<Result<Vec<_>, _>>()?)?)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use candle_core::{Device, Tensor, safetensors};

    use super::*;

    fn saved(tensors: &[(&str, (usize, usize))]) -> tempfile::NamedTempFile {
        let file = tempfile::NamedTempFile::new().unwrap();
        let tensors: HashMap<String, Tensor> = tensors
            .iter()
            .map(|(name, shape)| ((*name).to_owned(), Tensor::full(0.5_f32, *shape, &Device::Cpu).unwrap()))
            .collect();
        safetensors::save(&tensors, file.path()).unwrap();
        file
    }

    #[test]
    fn files_of_each_layout_are_read() {
        for (layout, count, width) in [
            (vec![("emb_params", (3, 768))], 3, 768),
            (vec![("clip_l", (2, 768)), ("clip_g", (2, 1280))], 2, 2048),
        ] {
            let embedding = Embedding::load(saved(&layout).path(), "cat").unwrap();
            assert_eq!((embedding.count(), embedding.width(), embedding.name()), (count, width, "cat"));
        }
    }

    #[test]
    fn files_of_torch_are_read() {
        let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/families");
        for name in ["embedding.pt", "embedding_module.pt"] {
            let embedding = Embedding::load(&golden.join(name), "cat").unwrap();
            assert_eq!((embedding.count(), embedding.width()), (2, 768), "{name}");
        }
    }

    #[test]
    fn other_files_are_refused_before_they_are_read() {
        let large = saved(&[("unet.conv.weight", (2049, 2048))]);
        let error = Embedding::load(large.path(), "cat").unwrap_err();
        assert_eq!(error.reason(), "NotAnEmbedding");
        assert!(error.to_string().contains("`unet.conv.weight` has 4196352 elements"), "{error}");
        let names: Vec<String> = (0..65).map(|n| format!("t{n}")).collect();
        let many: Vec<(&str, (usize, usize))> = names.iter().map(|n| (n.as_str(), (1, 4))).collect();
        let error = Embedding::load(saved(&many).path(), "cat").unwrap_err();
        assert!(error.to_string().contains("it has 65 tensors, the limit is 64"), "{error}");
        assert!(Embedding::load(Path::new("/nowhere"), "cat").unwrap_err().retriable());
    }
}
