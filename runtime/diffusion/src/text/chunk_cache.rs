//! Texts to conditionings: chunks encoded once, emphasis applied, chunks and encoders joined.

use std::collections::HashMap;
use std::sync::Arc;

use candle_core::{Result as TensorResult, Tensor};

use super::chunks::{Chunk, chunk_prompt};
use super::encoder::{Conditioning, Encoded, TextEncoders};
use super::error::TextError;
use super::options::EncodeOptions;
use super::weighting::{Weighed, weigh};

/// Encodes texts and remembers their chunks: texts of a schedule share many.
pub(super) struct ChunkCache<'a> {
    encoders: &'a TextEncoders,
    options: EncodeOptions<'a>,
    done: HashMap<ChunkKey, Encoded>,
}

/// Tokens, and of each embedding its place and identity.
type ChunkKey = (Vec<u32>, Vec<(usize, usize)>);

impl<'a> ChunkCache<'a> {
    pub(super) fn new(encoders: &'a TextEncoders, options: EncodeOptions<'a>) -> Self {
        Self { encoders, options, done: HashMap::new() }
    }

    /// Encodes the texts of a schedule, each as long as the longest of them: A1111 fills up with chunks
    /// without text. The result has the order of `texts`.
    pub(super) fn encode_schedule(&mut self, texts: &[&str]) -> Result<Vec<Conditioning>, TextError> {
        let positions = self.encoders.positions();
        let mut distinct: Vec<(&str, usize)> = Vec::new();
        let mut places = HashMap::new();
        for text in texts {
            let place = *places.entry(*text).or_insert(distinct.len());
            match distinct.get_mut(place) {
                Some((_, times)) => *times += 1,
                None => distinct.push((text, 1)),
            }
        }
        let mut chunked: Vec<Vec<Chunk>> = distinct
            .iter()
            .map(|(text, _)| chunk_prompt(text, positions, self.options.emphasis, self.options.embeddings))
            .collect();
        let length = chunked.iter().map(Vec::len).max().unwrap_or(0);
        for chunks in &mut chunked {
            chunks.resize_with(length, || Chunk::empty(positions));
        }
        let times: Vec<usize> = distinct.iter().map(|(_, times)| *times).collect();
        let encoded = self.join(&chunked, &times, length)?;
        Ok(texts.iter().filter_map(|text| encoded.get(*places.get(text)?).cloned()).collect())
    }

    /// Weighs the chunks at each place together and joins the places of each text.
    fn join(
        &mut self,
        chunked: &[Vec<Chunk>],
        times: &[usize],
        length: usize,
    ) -> Result<Vec<Conditioning>, TextError> {
        let mut contexts: Vec<Vec<Tensor>> = vec![Vec::with_capacity(length); chunked.len()];
        let mut pooled = Vec::with_capacity(chunked.len());
        for place in 0..length {
            let column: Vec<&Chunk> = chunked.iter().map(|chunks| &chunks[place]).collect();
            let encoded = column.iter().map(|chunk| self.chunk(chunk)).collect::<Result<Vec<_>, _>>()?;
            if place == 0 {
                pooled = encoded.iter().map(|one| one.pooled.clone()).collect();
            }
            let joined = self.weigh(&column, &encoded, times).map_err(TextError::tensor)?;
            contexts.iter_mut().zip(joined).for_each(|(context, states)| context.push(states));
        }
        contexts
            .into_iter()
            .zip(pooled)
            .map(|(parts, pooled)| {
                let context = Tensor::cat(&parts, 1).map_err(TextError::tensor)?;
                Ok(Conditioning { context, pooled })
            })
            .collect()
    }

    /// Emphasis for each encoder by itself, then the encoders side by side.
    fn weigh(&self, column: &[&Chunk], encoded: &[Encoded], times: &[usize]) -> TensorResult<Vec<Tensor>> {
        let mut sides: Vec<Vec<Tensor>> = vec![Vec::new(); column.len()];
        for index in 0..self.encoders.networks().len() {
            let group = column.iter().zip(encoded).zip(times).map(|((chunk, encoded), times)| Weighed {
                chunk,
                hidden: encoded.hidden[index].clone(),
                times: *times,
            });
            let weighed = weigh(group.collect(), self.options.emphasis)?;
            sides.iter_mut().zip(weighed).for_each(|(side, states)| side.push(states));
        }
        sides.iter().map(|side| Tensor::cat(side, 2)).collect()
    }

    fn chunk(&mut self, chunk: &Chunk) -> Result<Encoded, TextError> {
        let fixes =
            chunk.fixes.iter().map(|fix| (fix.position, Arc::as_ptr(&fix.embedding).addr())).collect();
        let key = (chunk.tokens.clone(), fixes);
        if let Some(encoded) = self.done.get(&key) {
            return Ok(encoded.clone());
        }
        let encoded = self.encoders.encode_chunk(chunk, &self.options)?;
        self.done.insert(key, encoded.clone());
        Ok(encoded)
    }
}
