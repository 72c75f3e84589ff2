//! Keywords of the grammar.

/// Where `word` stands in `text` as a word of its own, as `\bword\b` finds it.
pub(in crate::text) fn find_word(text: &str, word: &str) -> Option<usize> {
    let joined = |c: Option<char>| c.is_some_and(|c| c.is_alphanumeric() || c == '_');
    text.match_indices(word).map(|(start, _)| start).find(|start| {
        let (before, after) = (&text[..*start], &text[start + word.len()..]);
        !joined(before.chars().next_back()) && !joined(after.chars().next())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_whole_words_are_found() {
        let cases = [("a AND b", Some(2)), ("AND", Some(0)), ("(AND)", Some(1)), ("BRAND _AND ANDY", None)];
        for (text, want) in cases {
            assert_eq!(find_word(text, "AND"), want, "{text}");
        }
    }
}
