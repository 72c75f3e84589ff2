//! From what was seen of each picture to the report and to what the termination message says.

use std::collections::HashMap;

use easel_protocol::dataset::{
    CheckResult, CheckedDataset, MAX_PROBLEMS, Problem, ProblemReason, ReportLine,
};

use crate::termination::LIMIT_BYTES;

/// In the order of names. Of pictures with the same bytes the first one counts, as in training.
pub(super) fn in_order(mut lines: Vec<ReportLine>) -> Vec<ReportLine> {
    lines.sort_by(|a, b| a.name.cmp(&b.name));
    let mut first: HashMap<String, String> = HashMap::new();
    for line in &mut lines {
        let (None, Some(sha256)) = (line.problem, &line.sha256) else { continue };
        match first.get(sha256) {
            Some(kept) => {
                line.problem = Some(ProblemReason::Duplicate);
                line.message = Some(format!("it is the same as {kept}, which training takes"));
            }
            None => drop(first.insert(sha256.clone(), line.name.clone())),
        }
    }
    lines
}

/// JSON lines.
pub(super) fn as_text(lines: &[ReportLine]) -> Vec<u8> {
    let mut text = Vec::new();
    for line in lines {
        serde_json::to_writer(&mut text, line).expect("text and numbers are JSON, and a vector takes all");
        text.push(b'\n');
    }
    text
}

/// The numbers, and as many problems as fit. `items`: pictures of the Dataset, the disabled ones included.
pub(super) fn summary(lines: &[ReportLine], items: u32, report: Option<String>) -> CheckedDataset {
    let mut checked = CheckedDataset {
        items,
        enabled: u32::try_from(lines.len()).unwrap_or(u32::MAX),
        size_bytes: lines.iter().filter_map(read_bytes).fold(0, u64::saturating_add),
        report,
        ..CheckedDataset::default()
    };
    let (mut problems, mut duplicates) = (Vec::new(), Vec::new());
    for line in lines {
        let Some(reason) = line.problem else { continue };
        let problem = Problem { name: line.name.clone(), reason };
        match reason {
            ProblemReason::Missing => checked.missing += 1,
            ProblemReason::Duplicate => checked.duplicates += 1,
            ProblemReason::HashDiffers
            | ProblemReason::TooLarge
            | ProblemReason::TooSmall
            | ProblemReason::Unreadable => checked.invalid += 1,
        }
        if reason == ProblemReason::Duplicate { &mut duplicates } else { &mut problems }.push(problem);
    }
    problems.extend(duplicates);
    problems.truncate(MAX_PROBLEMS);
    checked.problems = problems;
    // Escapes can make six bytes of one.
    while !fits(&checked) && checked.problems.pop().is_some() {}
    checked
}

fn fits(checked: &CheckedDataset) -> bool {
    let result = CheckResult::Checked(checked.clone());
    serde_json::to_vec(&result).is_ok_and(|json| json.len() <= LIMIT_BYTES)
}

/// Bytes of a picture that was read; one with a hash was.
fn read_bytes(line: &ReportLine) -> Option<u64> {
    line.sha256.as_ref().and(line.size_bytes)
}

#[cfg(test)]
mod tests {
    use easel_protocol::dataset::ProblemReason::{Duplicate, Missing, TooLarge, Unreadable};

    use super::*;

    fn line(name: &str, sha256: Option<&str>, problem: Option<ProblemReason>) -> ReportLine {
        let (name, sha256) = (name.to_owned(), sha256.map(str::to_owned));
        ReportLine { name, sha256, size_bytes: Some(10), problem, ..ReportLine::default() }
    }

    #[test]
    fn of_pictures_with_the_same_bytes_the_first_by_name_counts() {
        let lines = in_order(vec![
            line("c", Some("1"), None),
            line("a", Some("1"), Some(Unreadable)),
            line("b", Some("1"), None),
            line("d", Some("2"), None),
            line("e", None, Some(Missing)),
        ]);
        let seen: Vec<_> = lines.iter().map(|line| (line.name.as_str(), line.problem)).collect();
        let want = [("a", Some(Unreadable)), ("b", None), ("c", Some(Duplicate)), ("d", None)];
        assert_eq!(seen[..4], want);
        assert_eq!(lines[2].message.as_deref(), Some("it is the same as b, which training takes"));
        let checked = summary(&lines, 7, Some("key".into()));
        assert_eq!((checked.items, checked.enabled, checked.size_bytes), (7, 5, 40));
        assert_eq!((checked.missing, checked.invalid, checked.duplicates), (1, 1, 1));
        let named: Vec<_> = checked.problems.iter().map(|p| (p.name.as_str(), p.reason)).collect();
        assert_eq!(named, [("a", Unreadable), ("e", Missing), ("c", Duplicate)]);
        assert_eq!(as_text(&lines).iter().filter(|byte| **byte == b'\n').count(), 5);
    }

    #[test]
    fn a_thousand_problems_with_long_names_fit_the_message() {
        let name = |i: usize| format!("{i:04}{}", "\u{1}".repeat(124));
        let lines: Vec<_> = (0..1000).map(|i| line(&name(i), None, Some(TooLarge))).collect();
        let checked = summary(&lines, 1000, None);
        assert_eq!(checked.invalid, 1000);
        assert!((1..MAX_PROBLEMS).contains(&checked.problems.len()) && fits(&checked));
        let plain: Vec<_> = (0..40).map(|i| line(&format!("{i:0128}"), None, Some(Missing))).collect();
        assert_eq!(summary(&plain, 40, Some("k".repeat(512))).problems.len(), MAX_PROBLEMS);
    }
}
