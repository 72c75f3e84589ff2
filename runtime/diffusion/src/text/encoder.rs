//! The encoders of the families: which there are, what of them counts, and one chunk through all of them.
//!
//! Facts: `modules/sd_hijack_clip.py` (`forward`, `process_tokens`), `modules/sd_hijack_open_clip.py`,
//! `modules/sd_models_xl.py`, and `FrozenOpenCLIPEmbedder`, `FrozenOpenCLIPEmbedder2` and
//! `GeneralConditioner` of `sgm/modules/encoders/modules.py`; diffusers gives the same for prompts of one
//! chunk without emphasis.

use candle_core::{DType, Device, Result as TensorResult, Tensor};

use crate::weights::WeightError;

use super::chunk_cache::ChunkCache;
use super::chunks::Chunk;
use super::clip::ClipText;
use super::embedding::{Embedding, Vectors};
use super::embedding_set::EmbeddingSet;
use super::error::TextError;
use super::options::{EmphasisMode, EncodeOptions, SdxlClipSkip, TextStyle};
use super::tokenizer::Tokenizer;

/// What a UNet reads of a prompt.
#[derive(Debug, Clone)]
pub struct Conditioning {
    /// `[1, 77 · chunks, width]`.
    pub context: Tensor,
    /// `[1, width]`: the text as one vector, which only SDXL models read.
    pub pooled: Option<Tensor>,
}

/// The text encoders of a model.
#[derive(Debug)]
pub struct TextEncoders {
    style: TextStyle,
    encoders: Vec<ClipText>,
}

impl TextEncoders {
    /// Joins loaded networks: `text.` and, for SDXL, `text2.`; for the refiner `text2.` alone.
    ///
    /// # Errors
    /// The style needs a network or a projection that is not there, a network has too few tokens or
    /// positions, or the two encoders of SDXL have different lengths: the tensor is named.
    pub fn new(style: TextStyle, encoders: Vec<ClipText>) -> Result<Self, WeightError> {
        let missing = |name: &str| WeightError::Missing { name: name.to_owned() };
        let needed = if style == TextStyle::Sdxl { 2 } else { 1 };
        if encoders.len() < needed {
            let prefix =
                if encoders.is_empty() && style != TextStyle::SdxlRefiner { "text" } else { "text2" };
            return Err(missing(&format!("{prefix}.embeddings.token_embedding.weight")));
        }
        let this = Self { style, encoders: encoders.into_iter().take(needed).collect() };
        for (index, clip) in this.encoders.iter().enumerate() {
            let config = clip.config();
            if this.reading(index).pooled && config.projection.is_none() {
                return Err(missing("text2.text_projection.weight"));
            }
            let prefix = if index == 0 && style != TextStyle::SdxlRefiner { "text" } else { "text2" };
            let shape = |name: &str, actual: usize, expected: usize| WeightError::Shape {
                name: format!("{prefix}.embeddings.{name}.weight"),
                actual: vec![actual, config.width],
                expected: vec![expected, config.width],
            };
            if config.vocabulary < Tokenizer::VOCABULARY {
                return Err(shape("token_embedding", config.vocabulary, Tokenizer::VOCABULARY));
            }
            // A beginning, an end, and something between them.
            if config.positions < 3 || config.positions != this.positions() {
                return Err(shape("position_embedding", config.positions, this.positions().max(3)));
            }
        }
        Ok(this)
    }

    /// The family's way to read text.
    pub fn style(&self) -> TextStyle {
        self.style
    }

    /// The first network, whose layers `clip_skip` counts.
    pub fn clip(&self) -> &ClipText {
        // `new` took at least one.
        &self.encoders[0]
    }

    /// All networks.
    pub fn networks(&self) -> &[ClipText] {
        &self.encoders
    }

    /// Width of the context.
    pub fn context_width(&self) -> usize {
        self.encoders.iter().map(|clip| clip.config().width).sum()
    }

    /// Width of the pooled text, where the family has one.
    pub fn pooled_width(&self) -> Option<usize> {
        let pooling = (0..self.encoders.len()).find(|index| self.reading(*index).pooled)?;
        self.encoders[pooling].config().projection
    }

    /// Encodes a text of any length: emphasis and `BREAK` count, schedules and tags do not.
    ///
    /// # Errors
    /// The text names an embedding of another family, or the arithmetic failed.
    pub fn encode(&self, text: &str, options: &EncodeOptions) -> Result<Conditioning, TextError> {
        let mut all = ChunkCache::new(self, *options).encode_schedule(&[text])?;
        // One text gives one conditioning.
        Ok(all.swap_remove(0))
    }

    /// The conditioning of nothing at all: zeros for one chunk.
    pub fn zeros(&self) -> Result<Conditioning, TextError> {
        let zeros =
            |shape: &[usize]| Tensor::zeros(shape, DType::F32, &Device::Cpu).map_err(TextError::tensor);
        Ok(Conditioning {
            context: zeros(&[1, self.positions(), self.context_width()])?,
            pooled: self.pooled_width().map(|width| zeros(&[1, width])).transpose()?,
        })
    }

    /// Can this model read the vectors?
    ///
    /// # Errors
    /// They are of another family.
    pub fn check(&self, embedding: &Embedding) -> Result<(), TextError> {
        (0..self.encoders.len()).try_for_each(|index| self.vectors(embedding, index).map(|_| ()))
    }

    /// Encodes captions, all of one length; brackets are text. The tensors keep the graph of what is
    /// trained.
    ///
    /// # Errors
    /// As for [`TextEncoders::encode`].
    pub(crate) fn encode_captions(
        &self,
        captions: &[String],
        clip_skip: usize,
        embeddings: &EmbeddingSet,
    ) -> Result<Vec<Conditioning>, TextError> {
        let options =
            EncodeOptions { clip_skip, emphasis: EmphasisMode::None, embeddings, ..Default::default() };
        let texts: Vec<&str> = captions.iter().map(String::as_str).collect();
        ChunkCache::new(self, options).encode_schedule(&texts)
    }

    /// Does a text go through the module (or tensor) of the network `index`?
    pub(crate) fn reads(&self, index: usize, module: &str, clip_skip: usize) -> bool {
        let Some(clip) = self.encoders.get(index) else { return false };
        let reading = self.reading(index);
        if reading.pooled {
            return true;
        }
        let skip = self.skip(index, &EncodeOptions { clip_skip, ..Default::default() });
        let used = clip.config().layers.saturating_sub(skip.saturating_sub(1));
        let layer = module.strip_prefix("encoder.layers.").and_then(|rest| rest.split('.').next());
        match layer.map(str::parse::<usize>) {
            Some(layer) => layer.is_ok_and(|layer| layer < used),
            None if module.starts_with("final_layer_norm") => reading.final_norm,
            None => module.starts_with("embeddings."),
        }
    }

    pub(super) fn positions(&self) -> usize {
        self.encoders[0].config().positions
    }

    fn reading(&self, index: usize) -> Reading {
        let open_clip = Reading { pads_with_zero: true, final_norm: false, pooled: true };
        match (self.style, index) {
            (TextStyle::Sd1, _) => Reading { pads_with_zero: false, final_norm: true, pooled: false },
            (TextStyle::Sd2, _) => Reading { pads_with_zero: true, final_norm: true, pooled: false },
            (TextStyle::Sdxl, 0) => Reading { pads_with_zero: false, final_norm: false, pooled: false },
            (TextStyle::Sdxl | TextStyle::SdxlRefiner, _) => open_clip,
        }
    }

    /// Which layer counts: 1 is the last.
    fn skip(&self, index: usize, options: &EncodeOptions) -> usize {
        let asked = options.clip_skip.max(1);
        match (self.style, options.sdxl_clip_skip) {
            (TextStyle::Sd1, _) => asked,
            (TextStyle::Sd2, _) => 2 - usize::from(self.encoders[index].config().last_layer_dropped),
            (TextStyle::Sdxl, SdxlClipSkip::ClipL) if index == 0 => asked,
            (TextStyle::Sdxl, SdxlClipSkip::Both) => asked + 1,
            (TextStyle::Sdxl | TextStyle::SdxlRefiner, _) => 2,
        }
    }

    /// The vectors that an encoder reads.
    fn vectors<'e>(&self, embedding: &'e Embedding, index: usize) -> Result<&'e Tensor, TextError> {
        let vectors = match (&embedding.vectors, self.style, index) {
            (Vectors::One(all), TextStyle::Sd1 | TextStyle::Sd2 | TextStyle::SdxlRefiner, _) => Some(all),
            (Vectors::Two { clip_l, .. }, TextStyle::Sdxl, 0) => Some(clip_l),
            // A1111 passes SDXL's embeddings over in the refiner, though half of them is for it.
            (Vectors::Two { clip_g, .. }, TextStyle::Sdxl | TextStyle::SdxlRefiner, _) => Some(clip_g),
            (Vectors::One(_), TextStyle::Sdxl, _)
            | (Vectors::Two { .. }, TextStyle::Sd1 | TextStyle::Sd2, _) => None,
        };
        let width = self.encoders[index].config().width;
        vectors.filter(|v| v.dims().get(1) == Some(&width)).ok_or_else(|| TextError::EmbeddingWidth {
            name: embedding.name().to_owned(),
            width: embedding.width(),
            style: self.style,
            reads: self.context_width(),
        })
    }

    /// Runs one chunk through all encoders.
    pub(super) fn encode_chunk(&self, chunk: &Chunk, options: &EncodeOptions) -> Result<Encoded, TextError> {
        let mut encoded = Encoded { hidden: Vec::with_capacity(self.encoders.len()), pooled: None };
        for index in 0..self.encoders.len() {
            let vectors = chunk
                .fixes
                .iter()
                .map(|fix| Ok((fix.position, self.vectors(&fix.embedding, index)?)))
                .collect::<Result<Vec<_>, TextError>>()?;
            self.run(index, chunk, &vectors, options, &mut encoded).map_err(TextError::tensor)?;
        }
        Ok(encoded)
    }

    fn run(
        &self,
        index: usize,
        chunk: &Chunk,
        vectors: &[(usize, &Tensor)],
        options: &EncodeOptions,
        encoded: &mut Encoded,
    ) -> TensorResult<()> {
        let (clip, reading) = (&self.encoders[index], self.reading(index));
        let end = chunk.tokens.iter().position(|t| *t == Tokenizer::END).unwrap_or(chunk.tokens.len() - 1);
        let mut tokens = chunk.tokens.clone();
        if reading.pads_with_zero {
            tokens[end + 1..].fill(0);
        }
        let (hidden, used) = clip.layers(clip.embed(&tokens, vectors)?, self.skip(index, options))?;
        if reading.pooled {
            encoded.pooled = clip.pooled(&hidden, used, end)?;
        }
        encoded.hidden.push(if reading.final_norm { clip.normalise(&hidden)? } else { hidden });
        Ok(())
    }
}

/// How a family reads one of its encoders.
struct Reading {
    /// What follows the end of the text is token 0, not more ends.
    pads_with_zero: bool,
    final_norm: bool,
    pooled: bool,
}

/// A chunk's states before emphasis, one per encoder, `[1, positions, width]`.
#[derive(Clone)]
pub(super) struct Encoded {
    pub hidden: Vec<Tensor>,
    pub pooled: Option<Tensor>,
}
