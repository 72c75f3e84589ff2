//! Random prompts from pieces of the grammar: nothing panics, everything stays bounded.
//!
//! A fixed number of cases from fixed seeds. Bounds on the work are counted, not timed.

use easel_diffusion::random::Mt19937;
use easel_diffusion::text::grammar::{extract_networks, prompt_schedule, split_and, strip_comments};
use easel_diffusion::text::{
    EmbeddingSet, EmphasisMode, Fragment, MAX_DEPTH, Pass, PlanOptions, PromptPlan, Role, chunk_prompt,
    parse_emphasis,
};

const CASES: u32 = 20_000;

const PIECES: &[&str] = &[
    "a",
    "cat ",
    ", ",
    "(",
    ")",
    "[",
    "]",
    "((",
    "]]",
    ":",
    "::",
    "|",
    "\\",
    "\\(",
    "\\\n",
    "#",
    "\n",
    " ",
    "<",
    ">",
    "<lora:",
    "<lora:x:1>",
    "<hypernet:h:te=",
    "<a:b>",
    "AND",
    " AND ",
    "BREAK",
    " BREAK ",
    "1.2)",
    ":1.2)",
    ":0.5]",
    ":3]",
    ": -1e9 ]",
    ".",
    "+",
    "-",
    "9999999999999999999999999999999999999999",
    "1e400]",
    "[a:b:2]",
    "[a|b]",
    "(a:1.1)",
    "é",
    "日本",
    "\u{0}",
    "\u{301}",
    "<|endoftext|>",
    "\u{202e}",
    "ß",
    "_",
];

fn prompt(rng: &mut Mt19937, longest: u32) -> String {
    let count = rng.next_u32() % longest + 1;
    (0..count).map(|_| PIECES[rng.next_u32() as usize % PIECES.len()]).collect()
}

#[test]
fn no_prompt_is_too_strange() {
    let mut rng = Mt19937::new(4);
    for case in 0..CASES {
        let prompt = prompt(&mut rng, 40);
        let steps = (rng.next_u32() % 12) as usize;
        let pass = match rng.next_u32() % 2 {
            0 => Pass::First { steps },
            _ => Pass::Hires { first_steps: 7, steps },
        };
        let role = if rng.next_u32().is_multiple_of(4) { Role::Negative } else { Role::Positive };
        let options = PlanOptions { role, pass, strip_comments: rng.next_u32().is_multiple_of(2) };
        check(&PromptPlan::new(&prompt, &options), &prompt, steps);
        if case % 50 == 0 {
            // The tokenizer is the slow part.
            for chunk in chunk_prompt(&prompt, 77, EmphasisMode::Original, EmbeddingSet::empty()) {
                assert_eq!((chunk.tokens.len(), chunk.weights.len()), (77, 77), "{prompt:?}");
            }
        }
    }
}

/// What holds for every plan.
fn check(plan: &PromptPlan, prompt: &str, steps: usize) {
    assert!(!plan.parts().is_empty(), "{prompt:?}");
    for network in plan.networks() {
        assert!(
            !network.name.is_empty() && network.unet_weight.is_finite() && network.text_weight.is_finite()
        );
    }
    for part in plan.parts() {
        assert!(part.weight.is_finite(), "{prompt:?}");
        let ends: Vec<usize> = part.schedule.iter().map(|step| step.end_at_step).collect();
        assert!(ends.is_sorted_by(|a, b| a < b) && ends.last() == Some(&steps), "{prompt:?}: {ends:?}");
        for step in &part.schedule {
            assert!(step.text.len() <= prompt.len(), "{prompt:?}");
            let mut letters = 0;
            for fragment in parse_emphasis(&step.text) {
                if let Fragment::Text { text, weight } = fragment {
                    assert!(weight.is_finite(), "{prompt:?}");
                    letters += text.len();
                }
            }
            assert!(letters <= step.text.len(), "{prompt:?}");
        }
    }
}

/// A prompt without any of the grammar's characters comes through as it is.
#[test]
fn plain_prompts_are_left_alone() {
    let mut rng = Mt19937::new(5);
    let plain: Vec<&str> = PIECES
        .iter()
        .copied()
        .filter(|p| !p.contains(['(', ')', '[', ']', '|', '\\', ':', '<', '#']))
        .collect();
    for _ in 0..CASES / 10 {
        let count = rng.next_u32() % 20;
        let words: Vec<&str> = (0..count).map(|_| plain[rng.next_u32() as usize % plain.len()]).collect();
        let prompt = words.concat();
        if prompt.contains("AND") || prompt.contains("BREAK") {
            continue;
        }
        assert_eq!(strip_comments(&prompt), prompt);
        assert_eq!(extract_networks(&prompt).text, prompt);
        assert_eq!(split_and(&prompt)[0].text, prompt.trim_end());
        assert_eq!(prompt_schedule(&prompt, Pass::First { steps: 3 })[0].text, prompt);
        assert_eq!(parse_emphasis(&prompt), [Fragment::Text { text: prompt, weight: 1.0 }]);
    }
}

/// The traps of backtracking and of recursion, long enough that a parser of quadratic time needs minutes and
/// one that recurses overflows. What comes out is counted: no more pieces than the input has letters, and
/// no letter twice.
#[test]
fn traps_are_only_long() {
    const LENGTH: usize = 300_000;
    let traps = [
        "(", "[", ")", "]", ":", "|", "<", ">", "\\", "#", " ", "([", "[:", "[a:", "(:", ": ", ":1", ":1.",
        "<a", "<a:", "<lora:", "<lora:x:", "AND ", "BREAK", " BREAK ", "BREAKa", "[a|b]", "[a:b:1]", ":1.2)",
        "(a:1.2)", "\n#", "[[a:1]:", "\u{301}",
    ];
    for trap in traps {
        let prompt = trap.repeat(LENGTH / trap.len());
        for prompt in [prompt.clone(), prompt.clone() + "]", prompt + ">"] {
            let length = prompt.len();
            assert!(strip_comments(&prompt).len() <= length + 1, "{trap}");
            let extracted = extract_networks(&prompt);
            assert!(extracted.text.len() <= length && extracted.networks.len() <= length, "{trap}");
            let parts = split_and(&prompt);
            assert!(parts.iter().map(|part| part.text.len()).sum::<usize>() <= length, "{trap}");
            let schedule = prompt_schedule(&prompt, Pass::First { steps: 3 });
            assert!(schedule.len() <= 3 && schedule.iter().all(|step| step.text.len() <= length), "{trap}");
            let pieces = parse_emphasis(&prompt);
            assert!(pieces.len() <= length + 1, "{trap}");
        }
    }
}

#[test]
fn depth_bounds_the_weight() {
    for prompt in ["(".repeat(5_000) + "a", "[".repeat(5_000) + "a"] {
        let pieces = parse_emphasis(&prompt);
        let limit = 1.1_f32.powi(MAX_DEPTH as i32) * 1.001;
        for piece in pieces {
            if let Fragment::Text { weight, .. } = piece {
                assert!(weight <= limit && weight >= 1.0 / limit, "{weight}");
            }
        }
    }
}
