//! Prompts of any length: chunks of 75 tokens between a beginning and an end.
//!
//! Facts: `modules/sd_hijack_clip.py` (`tokenize_line`) with the default comma backtracking of 20.

use super::emphasis::{Fragment, parse_emphasis};
use super::tokenizer::Tokenizer;

/// How far back from a full chunk's end a comma may be for the words after it to move to the next.
const COMMA_BACKTRACK: usize = 20;

/// One chunk: ids and weights, both as long as the encoder has positions.
#[derive(Debug, Clone, PartialEq)]
pub struct Chunk {
    pub tokens: Vec<u32>,
    pub weights: Vec<f32>,
}

impl Chunk {
    /// Is there any emphasis in it?
    pub fn is_plain(&self) -> bool {
        self.weights.iter().all(|w| *w == 1.0)
    }
}

/// Parses and tokenises a prompt into chunks of `positions` ids; at least one.
pub fn chunk_prompt(prompt: &str, tokenizer: &Tokenizer, positions: usize) -> Vec<Chunk> {
    let mut line = Line::new(positions.saturating_sub(2).max(1));
    for fragment in parse_emphasis(prompt) {
        match fragment {
            Fragment::Break => line.close(),
            Fragment::Text { text, weight } => {
                for id in tokenizer.encode(&text) {
                    line.push(id, weight);
                }
            }
        }
    }
    line.finish()
}

struct Line {
    capacity: usize,
    open: Vec<(u32, f32)>,
    /// Where the last comma of the open chunk stands.
    comma: Option<usize>,
    done: Vec<Chunk>,
}

impl Line {
    fn new(capacity: usize) -> Self {
        Self { capacity, open: Vec::new(), comma: None, done: Vec::new() }
    }

    fn push(&mut self, id: u32, weight: f32) {
        if id == Tokenizer::COMMA {
            self.comma = Some(self.open.len());
        } else if self.open.len() == self.capacity
            && let Some(comma) = self.comma
            && self.open.len() - comma <= COMMA_BACKTRACK
        {
            // Words of one phrase stay together.
            let moved = self.open.split_off(comma + 1);
            self.close();
            self.open = moved;
        }
        if self.open.len() == self.capacity {
            self.close();
        }
        self.open.push((id, weight));
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
        self.done.push(Chunk { tokens, weights });
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
    use proptest::prelude::*;

    fn lengths(prompt: &str) -> Vec<usize> {
        chunk_prompt(prompt, Tokenizer::shared(), 77)
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
        let chunks = chunk_prompt("a (cat:1.5)", Tokenizer::shared(), 77);
        assert_eq!(&chunks[0].tokens[..4], [Tokenizer::START, 320, 2368, Tokenizer::END]);
        assert_eq!(&chunks[0].weights[..4], [1.0, 1.0, 1.5, 1.0]);
        assert!(!chunks[0].is_plain());
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(300))]

        #[test]
        fn any_prompt_becomes_whole_chunks(prompt in "(BREAK|[a-z,:. ()\\[\\]\\\\0-9é日\u{0}-\u{1f}]{0,8}){0,40}") {
            for chunk in chunk_prompt(&prompt, Tokenizer::shared(), 77) {
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
