//! CLIP's byte-pair encoding, as `transformers`' `CLIPTokenizer` does it.
//!
//! The vocabulary and the merges come from `instant-clip-tokenizer`. What it leaves to the caller is
//! done here: Unicode composition (NFC), white space, lower case letter by letter (without the Greek
//! final sigma), and the two special tokens by the names that the reference knows them under.

use std::sync::OnceLock;

use instant_clip_tokenizer::{Token, Tokenizer as Bpe};
use regex::Regex;
use unicode_normalization::UnicodeNormalization;

/// Longest word that is encoded whole, in bytes: some 20 chunks of a prompt. The reference encodes a longer
/// one otherwise only where it is cut; ten times more would cost tens of milliseconds a word.
const MAX_WORD: usize = 4096;

/// Splits text into token ids. Made once per process, for reading the vocabulary takes a while.
pub struct Tokenizer {
    bpe: Bpe,
    words: Regex,
    specials: Regex,
}

impl std::fmt::Debug for Tokenizer {
    fn fmt(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
        f.write_str("Tokenizer")
    }
}

impl Tokenizer {
    /// `<|startoftext|>`
    pub const START: u32 = 49406;
    /// `<|endoftext|>`, which also fills chunks up in SD 1.x.
    pub const END: u32 = 49407;
    /// How many ids there are.
    pub const VOCABULARY: usize = 49408;
    /// `,` at the end of a word.
    pub const COMMA: u32 = 267;

    /// The process's tokenizer.
    pub fn shared() -> &'static Self {
        static SHARED: OnceLock<Tokenizer> = OnceLock::new();
        SHARED.get_or_init(|| Self {
            bpe: Bpe::new(),
            words: Regex::new(r"'s|'t|'re|'ve|'m|'ll|'d|\p{L}+|\p{N}|[^\s\p{L}\p{N}]+")
                .expect("the pattern is a constant"),
            specials: Regex::new(r"<\|startoftext\|>|<\|endoftext\|>").expect("the pattern is a constant"),
        })
    }

    /// The ids of a text, without the ones that begin and end a chunk.
    pub fn encode(&self, text: &str) -> Vec<u32> {
        let mut ids = Vec::new();
        let mut at = 0;
        for special in self.specials.find_iter(text) {
            self.encode_plain(&text[at..special.start()], &mut ids);
            ids.push(if special.as_str().contains("start") { Self::START } else { Self::END });
            at = special.end();
        }
        self.encode_plain(&text[at..], &mut ids);
        ids
    }

    fn encode_plain(&self, text: &str, ids: &mut Vec<u32>) {
        let text: String = text.nfc().flat_map(char::to_lowercase).collect();
        let mut tokens: Vec<Token> = Vec::new();
        for word in self.words.find_iter(&text) {
            // Word by word, so that its own words for the special tokens never form.
            for piece in bounded(word.as_str()) {
                self.bpe.encode(piece, &mut tokens);
            }
        }
        ids.extend(tokens.into_iter().map(|t| u32::from(t.to_u16())));
    }
}

/// Cuts words that are longer than any: the encoding takes the square of a word's length.
fn bounded(word: &str) -> impl Iterator<Item = &str> {
    let mut rest = word;
    std::iter::from_fn(move || {
        let (piece, after) = rest.split_at(rest.floor_char_boundary(MAX_WORD));
        rest = after;
        (!piece.is_empty()).then_some(piece)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn special_tokens_are_those_of_the_reference_only() {
        let t = Tokenizer::shared();
        assert_eq!(t.encode("a<|endoftext|>b<|startoftext|>"), [320, 49407, 321, 49406]);
        assert!(!t.encode("<start_of_text> <end_of_text>").iter().any(|id| *id >= Tokenizer::START));
        assert_eq!(t.encode(","), [Tokenizer::COMMA]);
        assert!(t.encode(" \t\n").is_empty());
    }

    #[test]
    fn endless_words_are_cut_between_letters() {
        let words = ["日".repeat(5000), "a".repeat(9000), String::new()];
        for word in &words {
            let pieces: Vec<&str> = bounded(word).collect();
            assert_eq!(pieces.concat(), *word);
            assert!(pieces.iter().all(|piece| piece.len() <= MAX_WORD));
        }
        assert_eq!(Tokenizer::shared().encode(&words[0]).len(), 5000);
    }
}
