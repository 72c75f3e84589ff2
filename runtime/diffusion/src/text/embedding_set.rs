//! The embeddings that a prompt may name.
//!
//! Facts: `modules/textual_inversion/textual_inversion.py` (`register_embedding_by_name`,
//! `find_embedding_at_position`): a name is compared by its token ids, so upper and lower case are the same
//! and it may stand inside of a longer word only where tokens part; of several names the longest counts.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::embedding::Embedding;
use super::error::EmbeddingError;
use super::tokenizer::Tokenizer;

/// Embeddings by the first token of their names.
#[derive(Debug, Clone, Default)]
pub struct EmbeddingSet {
    /// Longest names first.
    by_first: BTreeMap<u32, Vec<Named>>,
}

/// The token ids of a name, and what it names.
type Named = (Vec<u32>, Arc<Embedding>);

static EMPTY: EmbeddingSet = EmbeddingSet { by_first: BTreeMap::new() };

impl EmbeddingSet {
    /// The set without any.
    pub fn empty() -> &'static Self {
        &EMPTY
    }

    /// Adds an embedding, in place of one whose name reads the same.
    ///
    /// # Errors
    /// No prompt can say its name.
    pub fn insert(&mut self, embedding: Arc<Embedding>) -> Result<(), EmbeddingError> {
        let ids = Tokenizer::shared().encode(embedding.name());
        let Some(first) = ids.first() else {
            return Err(EmbeddingError::Unsayable { name: embedding.name().to_owned() });
        };
        let names = self.by_first.entry(*first).or_default();
        names.retain(|(other, _)| *other != ids);
        names.push((ids, embedding));
        names.sort_by_key(|(ids, _)| std::cmp::Reverse(ids.len()));
        Ok(())
    }

    /// The embedding whose name `tokens` begin with, and how many of them the name is.
    pub fn find(&self, tokens: &[u32]) -> Option<(&Arc<Embedding>, usize)> {
        let names = self.by_first.get(tokens.first()?)?;
        names.iter().find(|(ids, _)| tokens.starts_with(ids)).map(|(ids, embedding)| (embedding, ids.len()))
    }

    /// The embeddings whose names stand in a text, in its order; one that stands there twice comes twice.
    pub fn named_in(&self, text: &str) -> Vec<&Arc<Embedding>> {
        let mut found = Vec::new();
        if self.by_first.is_empty() {
            return found;
        }
        let tokens = Tokenizer::shared().encode(text);
        let mut at = 0;
        while at < tokens.len() {
            match self.find(&tokens[at..]) {
                Some((embedding, length)) => {
                    found.push(embedding);
                    at += length.max(1);
                }
                None => at += 1,
            }
        }
        found
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<Embedding>> {
        self.by_first.values().flatten().map(|(_, embedding)| embedding)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use candle_core::{Device, Tensor};

    fn embedding(name: &str) -> Arc<Embedding> {
        let vectors = Tensor::zeros((1, 4), candle_core::DType::F32, &Device::Cpu).unwrap();
        Arc::new(Embedding::from_tensors(name, [("emb_params".to_owned(), vectors)]).unwrap())
    }

    #[test]
    fn the_longest_name_counts_in_any_case() {
        let mut set = EmbeddingSet::default();
        for name in ["easy", "EasyNegative", "bad-hands-5"] {
            set.insert(embedding(name)).unwrap();
        }
        let found = |text: &str| {
            let tokens = Tokenizer::shared().encode(text);
            set.find(&tokens).map(|(e, n)| (e.name().to_owned(), n == tokens.len()))
        };
        assert_eq!(found("easynegative"), Some(("EasyNegative".into(), true)));
        assert_eq!(found("BAD-hands-5"), Some(("bad-hands-5".into(), true)));
        assert_eq!(found("easy going"), Some(("easy".into(), false)));
        assert_eq!(found("bad-hands"), None);
        let named: Vec<&str> =
            set.named_in("an (EASYnegative:1.2) cat, easy").into_iter().map(|e| e.name()).collect();
        assert_eq!(named, ["EasyNegative", "easy"]);
        assert_eq!(found(""), None);
    }

    #[test]
    fn a_name_that_reads_the_same_replaces_and_an_empty_one_is_refused() {
        let mut set = EmbeddingSet::default();
        set.insert(embedding("Cat")).unwrap();
        set.insert(embedding("cat")).unwrap();
        assert_eq!(set.iter().map(|e| e.name()).collect::<Vec<_>>(), ["cat"]);
        assert_eq!(set.insert(embedding(" ")).unwrap_err().reason(), "InvalidName");
    }
}
