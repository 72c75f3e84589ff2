//! Comments in prompts, which A1111 removes unless told otherwise.
//!
//! Facts: `modules/processing_scripts/comments.py` (`strip_comments`, option `enable_prompt_comments`). The
//! number of line ends that stay may differ from there; no tokenizer sees it.

/// Puts a line end in place of each `#` and what follows it on its line.
pub fn strip_comments(prompt: &str) -> String {
    let mut out = String::with_capacity(prompt.len());
    for line in prompt.split_inclusive('\n') {
        match line.split_once('#') {
            Some((text, _)) => {
                out.push_str(text);
                out.push('\n');
            }
            None => out.push_str(line),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_comment_ends_with_its_line() {
        let cases = [
            ("a cat", "a cat"),
            ("a # grey\ncat", "a \ncat"),
            ("# all\ncat", "\ncat"),
            ("cat # one # two", "cat \n"),
            ("a\n#b\n#c\nd", "a\n\n\nd"),
        ];
        for (prompt, want) in cases {
            assert_eq!(strip_comments(prompt), want, "{prompt:?}");
        }
    }
}
