//! Composable diffusion: `a cat AND a dog :0.5`.
//!
//! Facts: `modules/prompt_parser.py` (`re_AND`, `re_weight`, `get_multicond_prompt_list`). As there, a
//! weight counts without any `AND` too, so `12:30` at the end of a prompt is the weight 30; and negative
//! prompts are not split.

use super::word::find_word;

/// One of the prompts that `AND` joins.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Subprompt<'a> {
    pub text: &'a str,
    /// Factor of its guidance; 1 if none was given. Finite, perhaps negative.
    pub weight: f32,
}

/// Splits at `AND` and takes the weights off; never empty.
pub fn split_and(prompt: &str) -> Vec<Subprompt<'_>> {
    const AND: &str = "AND";
    let mut parts = Vec::new();
    let mut rest = prompt;
    while let Some(at) = find_word(rest, AND) {
        parts.push(subprompt(&rest[..at]));
        rest = &rest[at + AND.len()..];
    }
    parts.push(subprompt(rest));
    parts
}

fn subprompt(part: &str) -> Subprompt<'_> {
    let whole = part.trim_end();
    weighted(whole).unwrap_or(Subprompt { text: whole, weight: 1.0 })
}

/// `text : weight`, where the weight has a sign at most and no exponent.
fn weighted(whole: &str) -> Option<Subprompt<'_>> {
    let head = whole.trim_end_matches(|c: char| c.is_ascii_digit() || c == '.');
    let digits = &whole[head.len()..];
    if !digits.bytes().any(|b| b.is_ascii_digit()) || (digits.contains('.') && !one_point(digits)) {
        return None;
    }
    let head = head.strip_suffix(['+', '-']).unwrap_or(head);
    let text = head.trim_end().strip_suffix(':')?;
    let weight: f32 = whole[head.len()..].parse().ok().filter(|w: &f32| w.is_finite())?;
    Some(Subprompt { text: text.trim_end(), weight })
}

/// `5.`, `.5` or `1.5`.
fn one_point(digits: &str) -> bool {
    digits.bytes().filter(|b| *b == b'.').count() == 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn weights_stand_at_the_ends_of_parts() {
        let cases: &[(&str, &[(&str, f32)])] = &[
            ("", &[("", 1.0)]),
            ("a cat", &[("a cat", 1.0)]),
            ("a cat AND a dog", &[("a cat", 1.0), (" a dog", 1.0)]),
            (
                "a cat :1.2 AND a dog AND a penguin :2.2",
                &[("a cat", 1.2), (" a dog", 1.0), (" a penguin", 2.2)],
            ),
            ("a:-1 AND b : .5 AND c:5. ", &[("a", -1.0), (" b", 0.5), (" c", 5.0)]),
            ("a:+2", &[("a", 2.0)]),
            ("time 12:30", &[("time 12", 30.0)]),
            ("a:1:2", &[("a:1", 2.0)]),
            ("a::2", &[("a:", 2.0)]),
            (":2", &[("", 2.0)]),
            ("a:1.2.3", &[("a:1.2.3", 1.0)]),
            ("a:.", &[("a:.", 1.0)]),
            ("a:1e3", &[("a:1e3", 1.0)]),
            ("a:b1", &[("a:b1", 1.0)]),
            ("(a:1.5)", &[("(a:1.5)", 1.0)]),
            ("a\nb :2\n", &[("a\nb", 2.0)]),
            ("SAND ANDY", &[("SAND ANDY", 1.0)]),
            ("AND", &[("", 1.0), ("", 1.0)]),
        ];
        for (prompt, want) in cases {
            let got: Vec<_> = split_and(prompt).into_iter().map(|p| (p.text, p.weight)).collect();
            assert_eq!(got, *want, "{prompt:?}");
        }
    }

    #[test]
    fn a_weight_beyond_all_floats_is_text() {
        let prompt = format!("a:{}", "9".repeat(60));
        assert_eq!(split_and(&prompt), [Subprompt { text: &prompt, weight: 1.0 }]);
    }
}
