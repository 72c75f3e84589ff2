//! Prompts taken apart as the web UI's own parser does (`golden/text/grammar.py`).

use easel_diffusion::text::grammar::{prompt_schedule, split_and};
use easel_diffusion::text::{Fragment, Pass, parse_emphasis};
use serde_json::{Value, json};

use crate::golden::path;

fn rows(kind: &str) -> Vec<Vec<Value>> {
    let all: Vec<Vec<Value>> =
        serde_json::from_slice(&std::fs::read(path("text/grammar.json")).unwrap()).unwrap();
    let rows: Vec<_> = all.into_iter().filter(|row| row[0] == kind).collect();
    assert!(rows.len() > 100, "{kind}: {}", rows.len());
    rows
}

#[test]
fn schedules_are_those_of_the_web_ui() {
    for row in rows("schedule") {
        let number = |v: &Value| v.as_u64().map(|n| n as usize);
        let (prompt, first) = (row[1].as_str().unwrap(), number(&row[2]).unwrap());
        let pass = match number(&row[3]) {
            None => Pass::First { steps: first },
            Some(steps) => Pass::Hires { first_steps: first, steps },
        };
        let got: Vec<Value> =
            prompt_schedule(prompt, pass).iter().map(|step| json!([step.end_at_step, step.text])).collect();
        assert_eq!(json!(got), row[4], "{prompt:?} {pass:?}");
    }
}

/// Same texts; weights within the rounding of f32.
fn assert_weighted(prompt: &str, got: &[(String, f64)], want: &Value) {
    let want: Vec<(String, f64)> = serde_json::from_value(want.clone()).unwrap();
    let texts = |rows: &[(String, f64)]| rows.iter().map(|row| row.0.clone()).collect::<Vec<_>>();
    assert_eq!(texts(got), texts(&want), "{prompt:?}");
    for (got, want) in got.iter().zip(&want) {
        assert!((got.1 - want.1).abs() <= 1e-6 * want.1.abs(), "{prompt:?}: {got:?} {want:?}");
    }
}

#[test]
fn emphasis_is_that_of_the_web_ui() {
    for row in rows("attention") {
        let prompt = row[1].as_str().unwrap();
        let got: Vec<_> = parse_emphasis(prompt)
            .into_iter()
            .map(|fragment| match fragment {
                Fragment::Text { text, weight } => (text, f64::from(weight)),
                Fragment::Break => ("BREAK".to_owned(), -1.0),
            })
            .collect();
        assert_weighted(prompt, &got, &row[2]);
    }
}

#[test]
fn composition_is_that_of_the_web_ui() {
    for row in rows("compose") {
        let prompt = row[1].as_str().unwrap();
        let got: Vec<_> = split_and(prompt)
            .into_iter()
            .map(|part| (part.text.to_owned(), f64::from(part.weight)))
            .collect();
        assert_weighted(prompt, &got, &row[2]);
    }
}
