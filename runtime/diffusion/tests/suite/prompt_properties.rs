//! What is written in the grammar is read back as it was meant.

use easel_diffusion::text::grammar::{Subprompt, extract_networks, prompt_schedule, split_and};
use easel_diffusion::text::{
    EmbeddingSet, EmphasisMode, Fragment, Pass, Tokenizer, chunk_prompt, parse_emphasis,
};
use proptest::prelude::*;

/// Any text with the grammar's characters escaped.
fn escape(text: &str) -> String {
    text.chars().flat_map(|c| "()[]\\".contains(c).then_some('\\').into_iter().chain([c])).collect()
}

/// Words that hold none of the grammar's characters or keywords.
const WORDS: &str = "[a-z é日,.]{1,12}";

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn weights_of_pieces_are_read_back(pieces in prop::collection::vec(("[a-z()\\[\\]\\\\ ]{1,10}", 2_u32..400), 1..8)) {
        let written: String =
            pieces.iter().map(|(text, weight)| format!("({}:{})", escape(text), f64::from(*weight) / 100.0)).collect();
        let mut want: Vec<Fragment> = Vec::new();
        for (text, weight) in &pieces {
            let weight = (f64::from(*weight) / 100.0) as f32;
            match want.last_mut() {
                // Neighbours of one weight are one piece.
                Some(Fragment::Text { text: last, weight: at }) if *at == weight => last.push_str(text),
                _ => want.push(Fragment::Text { text: text.clone(), weight }),
            }
        }
        prop_assert_eq!(parse_emphasis(&written), want);
    }

    #[test]
    fn breaks_part_pieces(texts in prop::collection::vec("[a-z]{1,6}", 1..6)) {
        let got = parse_emphasis(&texts.join(" BREAK "));
        let breaks = got.iter().filter(|fragment| **fragment == Fragment::Break).count();
        let words: Vec<String> = got.into_iter().filter_map(|fragment| match fragment {
            Fragment::Text { text, .. } => Some(text),
            Fragment::Break => None,
        }).collect();
        prop_assert_eq!((breaks, words), (texts.len() - 1, texts));
    }

    #[test]
    fn parts_and_their_weights_are_read_back(parts in prop::collection::vec(("[a-z,]{1,9}", -300_i32..300), 1..6)) {
        let weight = |n: i32| n as f32 / 100.0;
        let written: Vec<String> = parts.iter().map(|(text, n)| format!("{text} :{}", weight(*n))).collect();
        let written = written.join(" AND ");
        let got = split_and(&written);
        prop_assert_eq!(got.len(), parts.len());
        for (Subprompt { text, weight: got }, (want, n)) in got.iter().zip(&parts) {
            prop_assert_eq!((text.trim(), *got), (want.as_str(), weight(*n)));
        }
    }

    #[test]
    fn an_edit_shows_one_text_before_and_one_after(
        around in (WORDS, WORDS), texts in (WORDS, WORDS), steps in 1_usize..40, when in 1_usize..40,
    ) {
        let written = format!("{}[{}:{}:{when}]{}", around.0, texts.0, texts.1, around.1);
        let got = prompt_schedule(&written, Pass::First { steps });
        let text = |inner: &str| format!("{}{inner}{}", around.0, around.1);
        let want = if when < steps {
            vec![(when, text(&texts.0)), (steps, text(&texts.1))]
        } else {
            vec![(steps, text(&texts.0))]
        };
        prop_assert_eq!(got.into_iter().map(|s| (s.end_at_step, s.text)).collect::<Vec<_>>(), want);
    }

    #[test]
    fn an_alternation_turns(texts in prop::collection::vec("[a-z ]{0,5}", 2..6), steps in 1_usize..20) {
        let got = prompt_schedule(&format!("x[{}]y", texts.join("|")), Pass::First { steps });
        let want: Vec<(usize, String)> =
            (1..=steps).map(|step| (step, format!("x{}y", texts[(step - 1) % texts.len()]))).collect();
        prop_assert_eq!(got.into_iter().map(|s| (s.end_at_step, s.text)).collect::<Vec<_>>(), want);
    }

    #[test]
    fn tags_are_taken_out_wherever_they_stand(
        texts in prop::collection::vec("[a-z (:)]{0,6}", 1..6), names in prop::collection::vec("[a-zA-Z0-9._ -]{0,5}[a-z]", 5), n in -200_i32..200,
    ) {
        let weight = n as f32 / 100.0;
        let mut written = texts[0].clone();
        for (text, name) in texts[1..].iter().zip(&names) {
            written += &format!("<lora:{name}:{weight}>{text}");
        }
        let got = extract_networks(&written);
        prop_assert_eq!(got.text, texts.concat());
        let want: Vec<(&str, f32)> = names.iter().take(texts.len() - 1).map(|name| (name.trim(), weight)).collect();
        prop_assert_eq!(got.networks.iter().map(|n| (n.name.as_str(), n.unet_weight)).collect::<Vec<_>>(), want);
    }

    #[test]
    fn chunks_hold_every_token_once_and_in_order(words in prop::collection::vec("[a-z]{1,7},?", 0..200)) {
        let prompt = words.join(" ");
        let chunks = chunk_prompt(&prompt, 77, EmphasisMode::Original, EmbeddingSet::empty());
        let got: Vec<u32> = chunks
            .iter()
            .flat_map(|chunk| chunk.tokens[1..].iter().take_while(|t| **t != Tokenizer::END).copied())
            .collect();
        prop_assert_eq!(got, Tokenizer::shared().encode(&prompt));
    }
}
