//! Prompts of any length: chunks of 75 tokens between a beginning and an end.
//!
//! Facts: `modules/sd_hijack_clip.py` (`tokenize_line`) with the default comma backtracking of 20. One
//! departure: words that move to the next chunk take the vectors of their embeddings along; there, the
//! vectors stay behind over the padding of the chunk that the words left.

use std::sync::Arc;

use super::embedding::Embedding;
use super::embedding_set::EmbeddingSet;
use super::emphasis::{Fragment, parse_emphasis};
use super::options::EmphasisMode;
use super::tokenizer::Tokenizer;

/// How far back from a full chunk's end a comma may be for the words after it to move to the next.
const COMMA_BACKTRACK: usize = 20;

/// Vectors in place of tokens.
#[derive(Debug, Clone)]
pub struct Fix {
    /// Index in [`Chunk::tokens`] of the first of them; all of them fit.
    pub position: usize,
    pub embedding: Arc<Embedding>,
}

/// One chunk: ids and weights, both as long as the encoder has positions.
#[derive(Debug, Clone)]
pub struct Chunk {
    /// 0 where the vectors of an embedding stand.
    pub tokens: Vec<u32>,
    pub weights: Vec<f32>,
    pub fixes: Vec<Fix>,
}

impl Chunk {
    /// A chunk without text.
    pub fn empty(positions: usize) -> Self {
        let mut line = Line::new(positions);
        line.close();
        line.done.remove(0)
    }

    /// Is there any emphasis in it?
    pub fn is_plain(&self) -> bool {
        self.weights.iter().all(|w| *w == 1.0)
    }
}

/// Parses and tokenises a prompt into chunks of `positions` ids; at least one.
pub fn chunk_prompt(
    prompt: &str,
    positions: usize,
    emphasis: EmphasisMode,
    embeddings: &EmbeddingSet,
) -> Vec<Chunk> {
    let fragments = match emphasis {
        EmphasisMode::None => vec![Fragment::Text { text: prompt.to_owned(), weight: 1.0 }],
        EmphasisMode::Original | EmphasisMode::NoNorm | EmphasisMode::Ignore => parse_emphasis(prompt),
    };
    let mut line = Line::new(positions);
    for fragment in fragments {
        match fragment {
            Fragment::Break => line.close(),
            Fragment::Text { text, weight } => {
                line.text(&Tokenizer::shared().encode(&text), weight, embeddings)
            }
        }
    }
    line.finish()
}

struct Line {
    capacity: usize,
    open: Vec<(u32, f32)>,
    /// Places of embeddings in the open chunk.
    fixes: Vec<(usize, Arc<Embedding>)>,
    /// Where the last comma of the open chunk stands.
    comma: Option<usize>,
    done: Vec<Chunk>,
}

impl Line {
    fn new(positions: usize) -> Self {
        let capacity = positions.saturating_sub(2).max(1);
        Self { capacity, open: Vec::new(), fixes: Vec::new(), comma: None, done: Vec::new() }
    }

    fn text(&mut self, tokens: &[u32], weight: f32, embeddings: &EmbeddingSet) {
        let mut position = 0;
        while let Some(id) = tokens.get(position) {
            self.make_room(*id);
            match embeddings.find(&tokens[position..]) {
                Some((embedding, taken)) if embedding.count() <= self.capacity => {
                    self.push_vectors(embedding, weight);
                    position += taken;
                }
                _ => {
                    self.open.push((*id, weight));
                    position += 1;
                }
            }
        }
    }

    /// Begins another chunk if the open one is full.
    fn make_room(&mut self, id: u32) {
        if id == Tokenizer::COMMA {
            self.comma = Some(self.open.len());
        } else if self.open.len() == self.capacity
            && let Some(comma) = self.comma
            && self.open.len() - comma <= COMMA_BACKTRACK
        {
            // Words of one phrase stay together.
            let moved = self.open.split_off(comma + 1);
            let kept = self.fixes.partition_point(|(position, _)| *position <= comma);
            let mut fixes = self.fixes.split_off(kept);
            fixes.iter_mut().for_each(|(position, _)| *position -= comma + 1);
            self.close();
            self.open = moved;
            self.fixes = fixes;
        }
        if self.open.len() == self.capacity {
            self.close();
        }
    }

    fn push_vectors(&mut self, embedding: &Arc<Embedding>, weight: f32) {
        if self.open.len() + embedding.count() > self.capacity {
            self.close();
        }
        self.fixes.push((self.open.len(), Arc::clone(embedding)));
        self.open.extend(std::iter::repeat_n((0, weight), embedding.count()));
    }

    /// Fills the open chunk up and begins another.
    fn close(&mut self) {
        let (mut tokens, mut weights) = (vec![Tokenizer::START], vec![1.0]);
        for (id, weight) in self.open.drain(..) {
            tokens.push(id);
            weights.push(weight);
        }
        tokens.resize(self.capacity + 2, Tokenizer::END);
        weights.resize(self.capacity + 2, 1.0);
        let fixes = self.fixes.drain(..).map(|(at, embedding)| Fix { position: at + 1, embedding }).collect();
        self.done.push(Chunk { tokens, weights, fixes });
        self.comma = None;
    }

    fn finish(mut self) -> Vec<Chunk> {
        if !self.open.is_empty() || self.done.is_empty() {
            self.close();
        }
        self.done
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use candle_core::{DType, Device, Tensor};
    use proptest::prelude::*;

    fn chunks(prompt: &str) -> Vec<Chunk> {
        chunk_prompt(prompt, 77, EmphasisMode::Original, EmbeddingSet::empty())
    }

    fn lengths(prompt: &str) -> Vec<usize> {
        chunks(prompt)
            .iter()
            .map(|c| c.tokens[1..].iter().take_while(|t| **t != Tokenizer::END).count())
            .collect()
    }

    #[test]
    fn chunks_are_filled_broken_and_split_at_commas() {
        let words = |n: usize| vec!["cat"; n].join(" ");
        let cases = [
            ("nothing", String::new(), vec![0]),
            ("full", words(75), vec![75]),
            ("one too many", words(76), vec![75, 1]),
            ("break", format!("{} BREAK {}", words(3), words(4)), vec![3, 4]),
            ("break at the end leaves no empty chunk", format!("{} BREAK", words(3)), vec![3]),
            ("comma near the end", format!("{}, {}", words(60), words(20)), vec![61, 20]),
            ("comma too far back", format!("{}, {}", words(50), words(30)), vec![75, 6]),
            ("comma as the 76th", format!("{}, {}", words(75), words(2)), vec![75, 3]),
        ];
        for (name, prompt, want) in cases {
            assert_eq!(lengths(&prompt), want, "{name}");
        }
    }

    #[test]
    fn weights_stand_beside_their_tokens() {
        let chunks = chunks("a (cat:1.5)");
        assert_eq!(&chunks[0].tokens[..4], [Tokenizer::START, 320, 2368, Tokenizer::END]);
        assert_eq!(&chunks[0].weights[..4], [1.0, 1.0, 1.5, 1.0]);
        assert!(!chunks[0].is_plain());
    }

    #[test]
    fn without_emphasis_brackets_are_text() {
        let mode = |mode| chunk_prompt("(a:2) BREAK b", 77, mode, EmbeddingSet::empty());
        assert_eq!(mode(EmphasisMode::None).len(), 1);
        assert!(mode(EmphasisMode::None)[0].is_plain());
        assert_eq!(mode(EmphasisMode::Ignore).len(), 2);
    }

    fn set(count: usize) -> EmbeddingSet {
        let vectors = Tensor::zeros((count, 4), DType::F32, &Device::Cpu).unwrap();
        let embedding = Embedding::from_tensors("style", [("emb_params".to_owned(), vectors)]).unwrap();
        let mut set = EmbeddingSet::default();
        set.insert(Arc::new(embedding)).unwrap();
        set
    }

    #[test]
    fn embeddings_take_their_places_and_are_never_cut() {
        let words = |n: usize| vec!["cat"; n].join(" ");
        // The prompt, places of an embedding, and of each chunk the positions of embeddings.
        let cases = [
            ("alone", "style".to_owned(), 3, vec![vec![1]]),
            ("twice", "a (style:1.5) b Style".to_owned(), 2, vec![vec![2, 5]]),
            ("at the end", format!("{} style", words(72)), 3, vec![vec![73]]),
            ("one too many", format!("{} style", words(73)), 3, vec![vec![], vec![1]]),
            ("a whole chunk", "a style".to_owned(), 75, vec![vec![], vec![1]]),
            ("moved with its phrase", format!("{}, style {}", words(70), words(9)), 2, vec![vec![], vec![1]]),
            ("before the comma", format!("{} style, {}", words(60), words(20)), 2, vec![vec![61], vec![]]),
        ];
        for (name, prompt, count, want) in cases {
            let chunks = chunk_prompt(&prompt, 77, EmphasisMode::Original, &set(count));
            let got: Vec<Vec<usize>> =
                chunks.iter().map(|c| c.fixes.iter().map(|f| f.position).collect()).collect();
            assert_eq!(got, want, "{name}");
            for chunk in &chunks {
                for fix in &chunk.fixes {
                    let places = fix.position..fix.position + count;
                    assert!(
                        places.end <= 76 && chunk.tokens[places.clone()].iter().all(|t| *t == 0),
                        "{name}"
                    );
                    let weight = chunk.weights[fix.position];
                    assert!(chunk.weights[places].iter().all(|w| *w == weight), "{name}");
                }
            }
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(300))]

        #[test]
        fn any_prompt_becomes_whole_chunks(prompt in "(BREAK|[a-z,:. ()\\[\\]\\\\0-9é日\u{0}-\u{1f}]{0,8}){0,40}") {
            for chunk in chunks(&prompt) {
                prop_assert_eq!(chunk.tokens.len(), 77);
                prop_assert_eq!(chunk.weights.len(), 77);
                prop_assert!(chunk.weights.iter().all(|w| w.is_finite()));
                prop_assert_eq!((chunk.tokens[0], chunk.tokens[76]), (Tokenizer::START, Tokenizer::END));
            }
        }

        #[test]
        fn escaping_a_text_makes_it_literal(text in "[a-z():\\[\\] ]{0,30}") {
            let escaped: String = text.chars().flat_map(|c| {
                let slash = "()[]\\".contains(c).then_some('\\');
                slash.into_iter().chain([c])
            }).collect();
            prop_assert_eq!(parse_emphasis(&escaped), vec![Fragment::Text { text, weight: 1.0 }]);
        }
    }
}
