//! A1111's grammar of emphasis.
//!
//! `(x)` multiplies the weight by 1.1, `[x]` divides it by 1.1, `(x:1.3)` multiplies it by 1.3; brackets
//! nest; `\(`, `\)`, `\[`, `\]` and `\\` are the characters themselves; a bracket left open counts to
//! the end; `BREAK` ends a chunk. Facts: `modules/prompt_parser.py` (`parse_prompt_attention`).
//!
//! Two departures. There, `BREAK` inside brackets becomes the word "break", because its marker is a
//! weight that the bracket multiplies; here it ends the chunk wherever it stands. And brackets nested
//! deeper than [`MAX_DEPTH`] are text here, which bounds time and weights.

use super::grammar::find_word;

/// Most brackets of one kind around a word. 1.1 to this power is 445: a few more and every picture is
/// noise, a thousand more and weights overflow.
pub const MAX_DEPTH: usize = 64;

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

/// Open brackets of one kind.
#[derive(Default)]
struct Brackets {
    /// Where in the pieces each begins.
    starts: Vec<usize>,
    /// How many more are open that are text.
    beyond: usize,
}

impl Brackets {
    /// Does a bracket that opens at piece `start` count?
    fn open(&mut self, start: usize) -> bool {
        let counts = self.beyond == 0 && self.starts.len() < MAX_DEPTH;
        if counts {
            self.starts.push(start);
        } else {
            self.beyond += 1;
        }
        counts
    }

    /// Where the bracket that closes now began; none if it is text.
    fn close(&mut self) -> Option<usize> {
        match self.beyond.checked_sub(1) {
            Some(beyond) => {
                self.beyond = beyond;
                None
            }
            None => self.starts.pop(),
        }
    }
}

#[derive(Default)]
struct Parser {
    /// Text and weight; no text is a break.
    pieces: Vec<(Option<String>, f64)>,
    round: Brackets,
    square: Brackets,
    /// How many weights were multiplied.
    #[cfg(test)]
    work: usize,
}

impl Parser {
    /// Consumes one element at the start of `rest`, whose first character is `first`.
    fn take<'a>(&mut self, first: char, rest: &'a str) -> &'a str {
        let after = &rest[first.len_utf8()..];
        let start = self.pieces.len();
        match first {
            '\\' => {
                let escaped = after.chars().next().filter(|c| "()[]\\".contains(*c));
                // A backslash before anything else is consumed and means nothing.
                self.literal(escaped.map(String::from).unwrap_or_default());
                return &after[escaped.map_or(0, char::len_utf8)..];
            }
            '(' if self.round.open(start) => {}
            '[' if self.square.open(start) => {}
            ')' => match self.round.close() {
                Some(start) => self.multiply(start, ROUND),
                None => self.literal(")".into()),
            },
            ']' => match self.square.close() {
                Some(start) => self.multiply(start, SQUARE),
                None => self.literal("]".into()),
            },
            '(' | '[' => self.literal(first.into()),
            ':' => return self.colon(rest, after),
            _ => {
                let end = rest.find(['\\', '(', ')', '[', ']', ':']).unwrap_or(rest.len());
                self.text(&rest[..end]);
                return &rest[end..];
            }
        }
        after
    }

    /// `: 1.2 )` closes a round bracket with a weight; any other colon is text.
    fn colon<'a>(&mut self, rest: &'a str, after: &'a str) -> &'a str {
        let Some((weight, consumed)) = weight_and_bracket(after) else {
            self.literal(":".into());
            return after;
        };
        match self.round.close() {
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
        const BREAK: &str = "BREAK";
        let mut rest = text;
        while let Some(start) = find_word(rest, BREAK) {
            self.literal(rest[..start].trim_end().to_owned());
            self.pieces.push((None, 1.0));
            rest = rest[start + BREAK.len()..].trim_start();
        }
        self.literal(rest.to_owned());
    }

    /// Every piece is inside of at most `MAX_DEPTH` brackets of a kind, so this stays linear over all.
    fn multiply(&mut self, start: usize, factor: f64) {
        #[cfg(test)]
        {
            self.work += self.pieces.len().saturating_sub(start);
        }
        let most = f64::from(f32::MAX);
        for piece in self.pieces.iter_mut().skip(start) {
            piece.1 = (piece.1 * factor).clamp(-most, most);
        }
    }

    fn finish(mut self) -> Vec<Fragment> {
        for start in std::mem::take(&mut self.round).starts {
            self.multiply(start, ROUND);
        }
        for start in std::mem::take(&mut self.square).starts {
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
/// Numbers that are none (`1.2.3`) or not finite make it plain text. Looks no further than the number, so
/// that many colons without brackets stay cheap.
fn weight_and_bracket(after: &str) -> Option<(f64, usize)> {
    let number = after.trim_start();
    let unsigned = number.strip_prefix(['+', '-']).unwrap_or(number);
    let rest = unsigned.trim_start_matches(|c: char| c.is_ascii_digit() || c == '.');
    let behind = rest.trim_start().strip_prefix(')')?;
    let weight: f64 = number[..number.len() - rest.len()].parse().ok()?;
    (weight as f32).is_finite().then_some((weight, after.len() - behind.len()))
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
    fn brackets_beyond_the_limit_are_text_with_their_ends() {
        let nested = |depth: usize| format!("{}a{}b", "(".repeat(depth), ")".repeat(depth));
        let limit = 1.1_f64.powi(MAX_DEPTH as i32) as f32;
        let close = |got: f32| (got / limit - 1.0).abs() < 1e-6;
        let got = parse(&nested(MAX_DEPTH));
        assert!(got[0].0 == "a" && close(got[0].1) && got[1] == ("b".to_owned(), 1.0), "{got:?}");
        let got = parse(&nested(MAX_DEPTH + 2));
        assert!(got[0].0 == "((a))" && close(got[0].1) && got[1] == ("b".to_owned(), 1.0), "{got:?}");
        let got = parse(&format!("{}a:2):3)", "(".repeat(MAX_DEPTH + 1)));
        assert_eq!(got[0].0, "(a:2)");
    }

    #[test]
    fn every_piece_is_multiplied_a_bounded_number_of_times() {
        for unit in ["(a", "[a", "([a", "(a)", "(a[b]", "((a:2)", "a)", "(a:1.1)]["] {
            let prompt = unit.repeat(2_000);
            let mut parser = Parser::default();
            let mut rest = prompt.as_str();
            while let Some(first) = rest.chars().next() {
                rest = parser.take(first, rest);
            }
            let limit = 2 * MAX_DEPTH * parser.pieces.len();
            assert!(parser.work <= limit, "{unit}: {} of {limit}", parser.work);
        }
    }

    #[test]
    fn weights_stay_finite() {
        let huge = format!("{}a{}", "(".repeat(60), format!(":{})", "9".repeat(38)).repeat(60));
        assert_eq!(parse(&huge), [("a".to_owned(), f32::MAX)]);
        assert_eq!(parse(&format!("({huge}:0)")), [("a".to_owned(), 0.0)]);
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
