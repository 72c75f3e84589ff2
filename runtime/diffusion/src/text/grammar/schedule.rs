//! Prompt editing `[from:to:when]` and alternation `[a|b]`: which text counts at which step.
//!
//! Facts: `modules/prompt_parser.py` (`schedule_parser`, `get_learned_conditioning_prompt_schedules`). In
//! that grammar a bracket belongs to a construct only if everything inside does; any other bracket or colon
//! is itself, and the prompt around it still counts. A `|` outside of an alternation, or a backslash before
//! a line end or the end, makes the whole prompt one plain text. The same rules stand here as one pass over
//! the brackets. Where the original's parser is ambiguous (a construct right before a stray bracket) its
//! answer changes from process to process with Python's hash seed; here the construct always counts.

use std::collections::BTreeSet;

/// Which pass the steps are counted in. Steps are calls of the model: A1111 counts those of samplers of
/// second order (Heun, DPM2, DPM2 a, DPM++ 2S a, DPM++ SDE, Restart) twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Pass {
    /// `when` is a step, or with a point in it a part of the steps.
    First { steps: usize },
    /// The second pass of a hires fix: steps count on from those of the first, and parts from 1.
    Hires { first_steps: usize, steps: usize },
}

impl Pass {
    /// Steps of this pass.
    pub fn steps(self) -> usize {
        match self {
            Self::First { steps } | Self::Hires { steps, .. } => steps,
        }
    }

    /// The last step of what comes before `when`; perhaps none of this pass (below 1).
    fn end_of(self, when: &str) -> i64 {
        let value: f64 = when.parse().unwrap_or(0.0);
        let (first_steps, part) = match self {
            Self::First { .. } => (0, 0.0),
            Self::Hires { first_steps, .. } => (first_steps, 1.0),
        };
        let steps = self.steps();
        let end = if when.contains('.') { (value - part) * steps as f64 } else { value - first_steps as f64 };
        (end as i64).min(i64::try_from(steps).unwrap_or(i64::MAX))
    }
}

/// A text and the last step, counted from 1, that it was made for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ScheduleStep {
    pub end_at_step: usize,
    pub text: String,
}

/// The texts of a prompt in the order of their steps; never empty, the last one ends at the last step.
/// Takes time in proportion to the prompt's length (and its logarithm) for every text.
pub fn prompt_schedule(prompt: &str, pass: Pass) -> Vec<ScheduleStep> {
    let steps = pass.steps();
    let Some(constructs) = constructs(prompt, pass) else {
        return vec![ScheduleStep { end_at_step: steps, text: prompt.to_owned() }];
    };
    let mut ends = BTreeSet::from([steps]);
    for construct in &constructs {
        match &construct.form {
            Form::Alternate => ends.extend(1..=steps),
            Form::Scheduled { end } => ends.extend(usize::try_from(*end).ok().filter(|e| *e >= 1)),
        }
    }
    ends.into_iter()
        .map(|end| ScheduleStep { end_at_step: end, text: pieces(prompt, &constructs, end).concat() })
        .collect()
}

/// A bracket that changes with the step.
#[derive(Debug)]
struct Construct {
    /// Where its brackets stand.
    open: usize,
    close: usize,
    /// Where its separators stand.
    marks: Vec<usize>,
    form: Form,
}

#[derive(Debug)]
enum Form {
    Alternate,
    /// The first choice counts up to `end`.
    Scheduled {
        end: i64,
    },
}

impl Construct {
    /// The piece of the prompt that stands for it at a step.
    fn chosen(&self, step: usize) -> Option<(usize, usize)> {
        let piece = |n: usize| {
            let start = n.checked_sub(1).map_or(self.open, |before| self.marks[before]);
            (start + 1, self.marks.get(n).copied().unwrap_or(self.close))
        };
        match self.form {
            Form::Alternate => Some(piece(step.saturating_sub(1) % (self.marks.len() + 1))),
            Form::Scheduled { end } => {
                let before = i64::try_from(step).is_ok_and(|step| step <= end);
                match (self.marks.len(), before) {
                    // With one mark there is nothing before.
                    (2, true) => Some(piece(0)),
                    (2, false) => Some(piece(1)),
                    (_, true) => None,
                    (_, false) => Some(piece(0)),
                }
            }
        }
    }
}

/// A bracket that is not closed yet.
struct Open {
    at: usize,
    square: bool,
    colons: Vec<usize>,
    bars: Vec<usize>,
    /// Something in it is no construct, so it is none either.
    broken: bool,
}

/// All brackets that change with the step, in the order in which they open; none if the prompt as a whole is
/// plain text.
fn constructs(prompt: &str, pass: Pass) -> Option<Vec<Construct>> {
    let mut found = Vec::new();
    let mut stack: Vec<Open> = Vec::new();
    let mut chars = prompt.char_indices();
    while let Some((at, c)) = chars.next() {
        match c {
            '\\' => {
                chars.next().filter(|(_, escaped)| *escaped != '\n')?;
            }
            '(' | '[' => {
                stack.push(Open { at, square: c == '[', colons: Vec::new(), bars: Vec::new(), broken: false })
            }
            ')' | ']' => close(prompt, pass, at, &mut stack, &mut found)?,
            ':' => stack.last_mut().into_iter().for_each(|open| open.colons.push(at)),
            '|' => stack.last_mut()?.bars.push(at),
            _ => {}
        }
    }
    if stack.iter().any(|open| !open.bars.is_empty()) {
        return None;
    }
    found.sort_unstable_by_key(|construct: &Construct| construct.open);
    Some(found)
}

/// Closes the innermost bracket; a stray one breaks all that are open.
fn close(
    prompt: &str,
    pass: Pass,
    at: usize,
    stack: &mut Vec<Open>,
    found: &mut Vec<Construct>,
) -> Option<()> {
    let square = prompt.as_bytes().get(at) == Some(&b']');
    let Some(open) = stack.pop_if(|open| open.square == square) else {
        let bars = stack.drain(..).any(|open| !open.bars.is_empty());
        return (!bars).then_some(());
    };
    let bars = open.bars.len();
    match classify(prompt, pass, open, at) {
        Bracket::Changing(construct) => found.push(construct),
        Bracket::Emphasis => {}
        Bracket::Broken if bars > 0 => return None,
        Bracket::Broken => stack.last_mut().into_iter().for_each(|outer| outer.broken = true),
    }
    Some(())
}

enum Bracket {
    Emphasis,
    Changing(Construct),
    Broken,
}

fn classify(prompt: &str, pass: Pass, open: Open, close: usize) -> Bracket {
    let Open { at, square, colons, bars, broken } = open;
    match (square, colons.as_slice(), bars.len()) {
        _ if broken => Bracket::Broken,
        (false, [] | [_], 0) | (true, [], 0) => Bracket::Emphasis,
        (true, [], _) => Bracket::Changing(Construct { open: at, close, marks: bars, form: Form::Alternate }),
        (true, [last] | [_, last], 0) => match number(&prompt[last + 1..close]) {
            Some(when) => {
                let form = Form::Scheduled { end: pass.end_of(when) };
                Bracket::Changing(Construct { open: at, close, marks: colons, form })
            }
            None => Bracket::Broken,
        },
        _ => Bracket::Broken,
    }
}

/// A signed decimal number, perhaps with an exponent and white space around it.
fn number(text: &str) -> Option<&str> {
    let number = text.trim();
    let known = |b: u8| b.is_ascii_digit() || matches!(b, b'.' | b'+' | b'-' | b'e' | b'E');
    (number.bytes().all(known) && number.parse::<f64>().is_ok()).then_some(number)
}

/// What of the prompt counts at a step, in order: at most two pieces per construct and one more. The work
/// list stands for recursion, which a hostile prompt could drive too deep.
fn pieces<'a>(prompt: &'a str, constructs: &[Construct], step: usize) -> Vec<&'a str> {
    let mut out = Vec::new();
    let mut work = vec![(0, prompt.len())];
    while let Some((start, end)) = work.pop() {
        let next = constructs.partition_point(|construct| construct.open < start);
        match constructs.get(next).filter(|construct| construct.open < end) {
            None => out.push(&prompt[start..end]),
            Some(construct) => {
                out.push(&prompt[start..construct.open]);
                work.push((construct.close + 1, end));
                work.extend(construct.chosen(step));
            }
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(prompt: &str, pass: Pass) -> Vec<(usize, String)> {
        prompt_schedule(prompt, pass).into_iter().map(|s| (s.end_at_step, s.text)).collect()
    }

    #[test]
    fn prompts_change_as_in_a1111() {
        let cases: &[(&str, &[(usize, &str)])] = &[
            ("test", &[(10, "test")]),
            ("a [b:3]", &[(3, "a "), (10, "a b")]),
            ("a [b: 3]", &[(3, "a "), (10, "a b")]),
            ("a [[[b]]:2]", &[(2, "a "), (10, "a [[b]]")]),
            ("[(a:2):3]", &[(3, ""), (10, "(a:2)")]),
            ("a [b : c : 1] d", &[(1, "a b  d"), (10, "a  c  d")]),
            ("a[b:[c:d:2]:1]e", &[(1, "abe"), (2, "ace"), (10, "ade")]),
            ("a [unbalanced", &[(10, "a [unbalanced")]),
            ("a [b:.5] c", &[(5, "a  c"), (10, "a b c")]),
            ("((a][:b:c [d:3]", &[(3, "((a][:b:c "), (10, "((a][:b:c d")]),
            ("[a::0.4]b", &[(4, "ab"), (10, "b")]),
            ("[:a:4]b", &[(4, "b"), (10, "ab")]),
            ("[a:b:5.]", &[(10, "a")]),
            ("[a:b:1e0]", &[(1, "a"), (10, "b")]),
            ("[a:b:-1]", &[(10, "b")]),
            ("[a:b:0]", &[(10, "b")]),
            ("[a:b:99]", &[(10, "a")]),
            (r"[a\:b:c:3]", &[(3, r"a\:b"), (10, "c")]),
            ("[a:b:c:3]", &[(10, "[a:b:c:3]")]),
            ("[a:b:3x]", &[(10, "[a:b:3x]")]),
            ("[a:b: ]", &[(10, "[a:b: ]")]),
            ("[a:b:inf]", &[(10, "[a:b:inf]")]),
            ("[(a:b:c):x:3]", &[(10, "[(a:b:c):x:3]")]),
            ("(x:[a:b:3]:y)", &[(3, "(x:a:y)"), (10, "(x:b:y)")]),
            ("(a|b) [c:d:3]", &[(10, "(a|b) [c:d:3]")]),
            (r"[a:b:3] \", &[(10, r"[a:b:3] \")]),
            ("a [{b|d{:.5] c", &[(10, "a [{b|d{:.5] c")]),
            ("[a:b:3]]", &[(3, "a]"), (10, "b]")]),
        ];
        for (prompt, want) in cases {
            let want: Vec<_> = want.iter().map(|(end, text)| (*end, (*text).to_owned())).collect();
            assert_eq!(at(prompt, Pass::First { steps: 10 }), want, "{prompt}");
        }
    }

    #[test]
    fn alternations_turn_with_every_step() {
        let texts = |prompt: &str| -> Vec<String> {
            at(prompt, Pass::First { steps: 5 }).into_iter().map(|(_, text)| text).collect()
        };
        assert_eq!(texts("[a|(b:1.1)]"), ["a", "(b:1.1)", "a", "(b:1.1)", "a"]);
        assert_eq!(texts("[fe|]male"), ["female", "male", "female", "male", "female"]);
        assert_eq!(texts("[fe|||]male"), ["female", "male", "male", "male", "female"]);
        assert_eq!(texts("[a|[b:c:2]]"), ["a", "b", "a", "c", "a"]);
        assert_eq!(texts("[x[a|b]:y:3]"), ["xa", "xb", "xa", "y", "y"]);
    }

    #[test]
    fn a_second_pass_counts_on() {
        let second = Pass::Hires { first_steps: 10, steps: 10 };
        let case = |prompt: &str| at(prompt, second);
        assert_eq!(case("a [b:.5] c"), [(10, "a b c".to_owned())]);
        assert_eq!(case("a [b:1.5] c"), [(5, "a  c".to_owned()), (10, "a b c".to_owned())]);
        assert_eq!(case("[a:b:8]"), [(10, "b".to_owned())]);
        assert_eq!(case("[a:b:12]"), [(2, "a".to_owned()), (10, "b".to_owned())]);
    }

    #[test]
    fn the_work_grows_with_the_number_of_constructs() {
        let pass = Pass::First { steps: 3 };
        for (unit, each) in [("[a|b]", 1), ("[a:b:1]", 1), ("x[a:[b|c]:2]y", 2), ("([a:[b]:1])", 1)] {
            for count in [1, 10, 1000] {
                let prompt = unit.repeat(count);
                let constructs = constructs(&prompt, pass).unwrap();
                assert_eq!(constructs.len(), each * count, "{unit}");
                for step in 1..=3 {
                    assert!(pieces(&prompt, &constructs, step).len() <= 2 * constructs.len() + 1, "{unit}");
                }
            }
        }
    }

    #[test]
    fn depth_is_no_danger() {
        let deep = format!("{}a{}", "[b:".repeat(20_000), ":2]".repeat(20_000));
        assert_eq!(at(&deep, Pass::First { steps: 4 }).len(), 2);
        assert_eq!(at(&"[(".repeat(20_000), Pass::First { steps: 4 }).len(), 1);
    }
}
