//! Textual inversion: vectors in place of a word.
//!
//! Layouts: A1111's `.pt` (`string_to_param` with one term), its and kohya's `.safetensors` (`emb_params`),
//! diffusers' (one tensor under the term's own name), and SDXL's two tensors (`clip_l` and `clip_g`, or
//! `text_encoders_0` and `text_encoders_1`). Facts: `modules/textual_inversion/textual_inversion.py`
//! (`create_embedding_from_data`). Files are read in `embedding_file.rs`; nested keys come joined by points.

use candle_core::{DType, Tensor};

use super::error::EmbeddingError;

/// Most vectors of an embedding: as many as a chunk has places.
pub const MAX_VECTORS: usize = 75;

/// Widest vectors that are read.
const MAX_WIDTH: usize = 16384;

const CLIP_L: [&str; 2] = ["clip_l", "text_encoders_0"];
const CLIP_G: [&str; 2] = ["clip_g", "text_encoders_1"];

/// The vectors of an embedding, `[count, width]` f32.
#[derive(Debug, Clone)]
pub(super) enum Vectors {
    /// For a model with one encoder.
    One(Tensor),
    /// For the two encoders of SDXL; counts are the same.
    Two { clip_l: Tensor, clip_g: Tensor },
}

/// A named set of vectors.
#[derive(Debug, Clone)]
pub struct Embedding {
    name: String,
    count: usize,
    pub(super) vectors: Vectors,
}

impl Embedding {
    /// Reads the tensors of a file; `name` is what prompts call it.
    ///
    /// # Errors
    /// The tensors are not those of one embedding; the message names the tensor.
    pub fn from_tensors(
        name: &str,
        tensors: impl IntoIterator<Item = (String, Tensor)>,
    ) -> Result<Self, EmbeddingError> {
        let (mut clip_l, mut clip_g) = (None, None);
        let mut terms: Vec<(String, Tensor)> = Vec::new();
        for (key, tensor) in tensors {
            match key.as_str() {
                key if CLIP_L.contains(&key) => clip_l = Some((key.to_owned(), tensor)),
                key if CLIP_G.contains(&key) => clip_g = Some((key.to_owned(), tensor)),
                // The id of the token that was trained, which nobody needs.
                key if key.starts_with("string_to_token") => {}
                _ => terms.push((key, tensor)),
            }
        }
        let vectors = match (clip_l, clip_g) {
            (Some(l), Some(g)) => Vectors::Two { clip_l: read(name, l)?, clip_g: read(name, g)? },
            (one, other) => {
                terms.extend(one.into_iter().chain(other));
                Vectors::One(read(name, single(name, terms)?)?)
            }
        };
        let count = match &vectors {
            Vectors::One(tensor) => rows(tensor),
            Vectors::Two { clip_l, clip_g } if rows(clip_l) != rows(clip_g) => {
                let (clip_l, clip_g) = (rows(clip_l), rows(clip_g));
                return Err(EmbeddingError::Uneven { name: name.to_owned(), clip_l, clip_g });
            }
            Vectors::Two { clip_l, .. } => rows(clip_l),
        };
        Ok(Self { name: name.to_owned(), count, vectors })
    }

    /// What prompts call it.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The same vectors under another name.
    pub fn called(&self, name: &str) -> Self {
        Self { name: name.to_owned(), ..self.clone() }
    }

    /// Places that it takes in a prompt; 1 to [`MAX_VECTORS`].
    pub fn count(&self) -> usize {
        self.count
    }

    /// Width of its vectors, for SDXL of both encoders together.
    pub fn width(&self) -> usize {
        let width = |t: &Tensor| t.dims().get(1).copied().unwrap_or(0);
        match &self.vectors {
            Vectors::One(tensor) => width(tensor),
            Vectors::Two { clip_l, clip_g } => width(clip_l) + width(clip_g),
        }
    }
}

fn rows(tensor: &Tensor) -> usize {
    tensor.dims().first().copied().unwrap_or(0)
}

/// The one term of a file. In A1111's layout only what is under `string_to_param` counts.
fn single(name: &str, mut terms: Vec<(String, Tensor)>) -> Result<(String, Tensor), EmbeddingError> {
    const PARAM: &str = "string_to_param.";
    if terms.iter().any(|(key, _)| key.starts_with(PARAM)) {
        terms.retain(|(key, _)| key.starts_with(PARAM));
    }
    if terms.len() > 1 {
        let keys: Vec<String> = terms.iter().take(4).map(|(key, _)| key.chars().take(40).collect()).collect();
        return Err(EmbeddingError::SeveralTerms { name: name.to_owned(), keys: keys.join(", ") });
    }
    terms.pop().ok_or_else(|| EmbeddingError::NoVectors { name: name.to_owned() })
}

/// A tensor of vectors as f32 on the CPU; one vector may stand without its first dimension.
fn read(name: &str, (key, tensor): (String, Tensor)) -> Result<Tensor, EmbeddingError> {
    let (count, width) = match tensor.dims() {
        [width] => (1, *width),
        [count, width] => (*count, *width),
        _ => (0, 0),
    };
    if count == 0 || width == 0 || width > MAX_WIDTH || !tensor.dtype().is_float() {
        return Err(EmbeddingError::Shape { name: name.to_owned(), key, shape: tensor.dims().to_vec() });
    }
    if count > MAX_VECTORS {
        return Err(EmbeddingError::TooManyVectors {
            name: name.to_owned(),
            vectors: count,
            limit: MAX_VECTORS,
        });
    }
    let converted = tensor
        .to_dtype(DType::F32)
        .and_then(|t| t.reshape((count, width)))
        .and_then(|t| Ok((t.flatten_all()?.to_vec1::<f32>()?, t)));
    match converted {
        Ok((values, _)) if values.iter().any(|v| !v.is_finite()) => {
            Err(EmbeddingError::NotFinite { name: name.to_owned(), key })
        }
        Ok((_, tensor)) => Ok(tensor),
        Err(source) => Err(EmbeddingError::Tensor { name: name.to_owned(), source }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use candle_core::Device;

    fn filled(shape: &[usize], value: f32) -> Tensor {
        Tensor::full(value, shape, &Device::Cpu).unwrap()
    }

    fn from(tensors: &[(&str, Tensor)]) -> Result<Embedding, EmbeddingError> {
        Embedding::from_tensors("x", tensors.iter().map(|(key, tensor)| ((*key).to_owned(), tensor.clone())))
    }

    #[test]
    fn every_layout_is_read() {
        let ids = Tensor::new(&[265_i64], &Device::Cpu).unwrap();
        let half = filled(&[2, 8], 0.5).to_dtype(DType::F16).unwrap();
        let cases = [
            ("A1111", vec![("string_to_param.*", filled(&[2, 8], 0.5)), ("string_to_token.*", ids)], 2, 8),
            ("torch 1.11", vec![("string_to_param._parameters.*", filled(&[3, 8], 0.5))], 3, 8),
            (
                "with leftovers",
                vec![("string_to_param.*", filled(&[1, 8], 0.5)), ("x", filled(&[1], 0.0))],
                1,
                8,
            ),
            ("safetensors", vec![("emb_params", half)], 2, 8),
            ("diffusers", vec![("<cat>", filled(&[8], 0.5))], 1, 8),
            ("SDXL", vec![("clip_l", filled(&[2, 8], 0.5)), ("clip_g", filled(&[2, 12], 0.5))], 2, 20),
            (
                "SDXL of diffusers",
                vec![("text_encoders_0", filled(&[2, 8], 0.5)), ("text_encoders_1", filled(&[2, 12], 0.5))],
                2,
                20,
            ),
            ("one encoder of SDXL", vec![("clip_g", filled(&[2, 12], 0.5))], 2, 12),
        ];
        for (layout, tensors, count, width) in cases {
            let got = from(&tensors).unwrap();
            assert_eq!((got.name(), got.count(), got.width()), ("x", count, width), "{layout}");
        }
    }

    #[test]
    fn what_is_no_embedding_is_named() {
        let cases = [
            ("NotAnEmbedding", vec![]),
            ("NotAnEmbedding", vec![("a", filled(&[1, 8], 0.0)), ("b", filled(&[1, 8], 0.0))]),
            ("WrongShape", vec![("emb_params", filled(&[1, 8, 8], 0.0))]),
            ("WrongShape", vec![("emb_params", filled(&[0, 8], 0.0))]),
            ("WrongShape", vec![("emb_params", Tensor::zeros((1, 8), DType::U32, &Device::Cpu).unwrap())]),
            ("WrongShape", vec![("emb_params", filled(&[76, 8], 0.0))]),
            ("WrongShape", vec![("clip_l", filled(&[1, 8], 0.0)), ("clip_g", filled(&[2, 8], 0.0))]),
            ("NotFiniteWeights", vec![("emb_params", filled(&[1, 8], f32::NAN))]),
        ];
        for (reason, tensors) in cases {
            assert_eq!(from(&tensors).unwrap_err().reason(), reason, "{tensors:?}");
        }
    }
}
