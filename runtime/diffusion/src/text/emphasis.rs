//! A1111's grammar of emphasis.
//!
//! `(x)` multiplies the weight by 1.1, `[x]` divides it by 1.1, `(x:1.3)` multiplies it by 1.3; brackets
//! nest; `\(`, `\)`, `\[`, `\]` and `\\` are the characters themselves; a bracket left open counts to
//! the end; `BREAK` ends a chunk. Facts: `modules/prompt_parser.py` (`parse_prompt_attention`).
//!
//! One departure: there, `BREAK` inside brackets becomes the word "break", because its marker is a
//! weight that the bracket multiplies. Here it ends the chunk wherever it stands.

/// A piece of a prompt.
#[derive(Debug, Clone, PartialEq)]
pub enum Fragment {
    Text { text: String, weight: f32 },
    Break,
}

const ROUND: f64 = 1.1;
const SQUARE: f64 = 1.0 / 1.1;

/// Splits a prompt into pieces of equal weight; never empty.
pub fn parse_emphasis(prompt: &str) -> Vec<Fragment> {
    let mut parser = Parser::default();
    let mut rest = prompt;
    while let Some(first) = rest.chars().next() {
        rest = parser.take(first, rest);
    }
    parser.finish()
}

#[derive(Default)]
struct Parser {
    /// Text and weight; no text is a break.
    pieces: Vec<(Option<String>, f64)>,
    /// Where each open bracket stands in `pieces`.
    round: Vec<usize>,
    square: Vec<usize>,
}

impl Parser {
    /// Consumes one element at the start of `rest`, whose first character is `first`.
    fn take<'a>(&mut self, first: char, rest: &'a str) -> &'a str {
        let after = &rest[first.len_utf8()..];
        match first {
            '\\' => {
                let escaped = after.chars().next().filter(|c| "()[]\\".contains(*c));
                // A backslash before anything else is consumed and means nothing.
                self.literal(escaped.map(String::from).unwrap_or_default());
                &after[escaped.map_or(0, char::len_utf8)..]
            }
            '(' => {
                self.round.push(self.pieces.len());
                after
            }
            '[' => {
                self.square.push(self.pieces.len());
                after
            }
            ')' => {
                match self.round.pop() {
                    Some(start) => self.multiply(start, ROUND),
                    None => self.literal(")".into()),
                }
                after
            }
            ']' => {
                match self.square.pop() {
                    Some(start) => self.multiply(start, SQUARE),
                    None => self.literal("]".into()),
                }
                after
            }
            ':' => self.colon(rest, after),
            _ => {
                let end = rest.find(['\\', '(', ')', '[', ']', ':']).unwrap_or(rest.len());
                self.text(&rest[..end]);
                &rest[end..]
            }
        }
    }

    /// `: 1.2 )` closes a round bracket with a weight; any other colon is text.
    fn colon<'a>(&mut self, rest: &'a str, after: &'a str) -> &'a str {
        let Some((weight, consumed)) = weight_and_bracket(after) else {
            self.literal(":".into());
            return after;
        };
        match self.round.pop() {
            Some(start) => self.multiply(start, weight),
            None => self.literal(rest[..1 + consumed].to_owned()),
        }
        &after[consumed..]
    }

    fn literal(&mut self, text: String) {
        self.pieces.push((Some(text), 1.0));
    }

    /// Text, split at `BREAK` standing as a word of its own; white space around it goes with it.
    fn text(&mut self, text: &str) {
        let mut rest = text;
        let mut search = 0;
        while let Some(found) = rest[search..].find("BREAK") {
            let start = search + found;
            let end = start + "BREAK".len();
            let joined = |c: Option<char>| c.is_some_and(|c| c.is_alphanumeric() || c == '_');
            if joined(rest[..start].chars().next_back()) || joined(rest[end..].chars().next()) {
                search = end;
                continue;
            }
            self.literal(rest[..start].trim_end().to_owned());
            self.pieces.push((None, 1.0));
            rest = rest[end..].trim_start();
            search = 0;
        }
        self.literal(rest.to_owned());
    }

    fn multiply(&mut self, start: usize, factor: f64) {
        for piece in self.pieces.iter_mut().skip(start) {
            piece.1 *= factor;
        }
    }

    fn finish(mut self) -> Vec<Fragment> {
        for start in std::mem::take(&mut self.round) {
            self.multiply(start, ROUND);
        }
        for start in std::mem::take(&mut self.square) {
            self.multiply(start, SQUARE);
        }
        let mut merged: Vec<(Option<String>, f64)> = Vec::new();
        for (text, weight) in self.pieces {
            match (merged.last_mut(), text) {
                (Some((Some(last), at)), Some(text)) if *at == weight => last.push_str(&text),
                (_, text) => merged.push((text, weight)),
            }
        }
        if merged.is_empty() {
            merged.push((Some(String::new()), 1.0));
        }
        merged
            .into_iter()
            .map(|(text, weight)| match text {
                Some(text) => Fragment::Text { text, weight: weight as f32 },
                None => Fragment::Break,
            })
            .collect()
    }
}

/// A number and a closing bracket, perhaps with white space around the number; how many bytes it took.
/// Numbers that are none (`1.2.3`) or not finite make it plain text.
fn weight_and_bracket(after: &str) -> Option<(f64, usize)> {
    let inner = &after[..after.find(')')?];
    let number = inner.trim();
    let digits = number.strip_prefix(['+', '-']).unwrap_or(number);
    if digits.is_empty() || !digits.bytes().all(|b| b.is_ascii_digit() || b == b'.') {
        return None;
    }
    let weight: f64 = number.parse().ok().filter(|w: &f64| (*w as f32).is_finite())?;
    Some((weight, inner.len() + 1))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(prompt: &str) -> Vec<(String, f32)> {
        parse_emphasis(prompt)
            .into_iter()
            .map(|f| match f {
                Fragment::Text { text, weight } => (text, weight),
                Fragment::Break => ("BREAK".to_owned(), -1.0),
            })
            .collect()
    }

    #[test]
    fn the_grammar_is_that_of_a1111() {
        let cases: &[(&str, &[(&str, f32)])] = &[
            ("", &[("", 1.0)]),
            ("normal text", &[("normal text", 1.0)]),
            ("an (important) word", &[("an ", 1.0), ("important", 1.1), (" word", 1.0)]),
            ("(unbalanced", &[("unbalanced", 1.1)]),
            ("[unbalanced", &[("unbalanced", 1.0 / 1.1)]),
            ("closed) too]", &[("closed) too]", 1.0)]),
            (r"\(literal\]", &[("(literal]", 1.0)]),
            (r"back\\slash \x", &[(r"back\slash x", 1.0)]),
            ("(unnecessary)(parens)", &[("unnecessaryparens", 1.1)]),
            ("(x:1.2)", &[("x", 1.2)]),
            ("(x: 1.2 )", &[("x", 1.2)]),
            ("(x:-.5)", &[("x", -0.5)]),
            ("(x:1.2.3)", &[("x:1.2.3", 1.1)]),
            ("(x:y)", &[("x:y", 1.1)]),
            ("x:1.2)", &[("x:1.2)", 1.0)]),
            ("a:b", &[("a:b", 1.0)]),
            ("(a:1.5)[b]", &[("a", 1.5), ("b", 1.0 / 1.1)]),
            ("one BREAK two", &[("one", 1.0), ("BREAK", -1.0), ("two", 1.0)]),
            ("BREAKFAST un_BREAK", &[("BREAKFAST un_BREAK", 1.0)]),
            ("(one BREAK two:1.5)", &[("one", 1.5), ("BREAK", -1.0), ("two", 1.5)]),
            ("BREAK", &[("", 1.0), ("BREAK", -1.0), ("", 1.0)]),
            (
                "a (((house:1.3)) [on] a (hill:0.5), sun, (((sky))).",
                &[
                    ("a ", 1.0),
                    ("house", 1.573),
                    (" ", 1.1),
                    ("on", 1.0),
                    (" a ", 1.1),
                    ("hill", 0.55),
                    (", sun, ", 1.1),
                    ("sky", 1.4641),
                    (".", 1.1),
                ],
            ),
        ];
        for (prompt, want) in cases {
            let got = parse(prompt);
            assert_eq!(got.len(), want.len(), "{prompt}: {got:?}");
            for ((text, weight), (want_text, want_weight)) in got.iter().zip(*want) {
                assert_eq!(text, want_text, "{prompt}");
                assert!((weight - want_weight).abs() < 1e-6, "{prompt}: {weight} {want_weight}");
            }
        }
    }
}
