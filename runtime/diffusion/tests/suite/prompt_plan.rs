//! Whole prompts: roles, parts, steps.

use candle_core::Tensor;
use easel_diffusion::text::{
    EncodeOptions, ExtraNetworkKind, Pass, PlanOptions, PromptPlan, Role, ScheduledConditioning, TextStyle,
};

use crate::golden::{bits, values};
use crate::text_encoders::encoders;

fn plan(prompt: &str, role: Role, steps: usize) -> PromptPlan {
    PromptPlan::new(prompt, &PlanOptions { role, pass: Pass::First { steps }, strip_comments: true })
}

fn encode(prompt: &str, role: Role, style: TextStyle) -> ScheduledConditioning {
    plan(prompt, role, 10).encode(encoders(style), &EncodeOptions::default()).unwrap()
}

fn context(prompt: &str) -> Tensor {
    encoders(TextStyle::Sd1).encode(prompt, &EncodeOptions::default()).unwrap().context
}

#[test]
fn a_positive_prompt_is_taken_apart_in_the_web_uis_order() {
    let got = plan("a [b:c:0.5] # AND x\n<lora:l:0.8:0.4> AND d:2 <depth:1>", Role::Positive, 10);
    assert_eq!(got.networks().len(), 1);
    let lora = &got.networks()[0];
    assert_eq!((lora.kind, lora.name.as_str()), (ExtraNetworkKind::Lora, "l"));
    assert_eq!((lora.text_weight, lora.unet_weight), (0.8, 0.4));
    assert_eq!(got.unknown_networks(), ["depth"]);
    let parts: Vec<(f32, Vec<(usize, &str)>)> = got
        .parts()
        .iter()
        .map(|p| (p.weight, p.schedule.iter().map(|s| (s.end_at_step, s.text.as_str())).collect()))
        .collect();
    assert_eq!(parts, [(1.0, vec![(5, "a b"), (10, "a c")]), (2.0, vec![(10, " d")])]);
}

#[test]
fn a_negative_prompt_has_schedules_but_neither_tags_nor_parts() {
    let got = plan("<lora:x:1> a AND [b:c:5]:2", Role::Negative, 10);
    assert!(got.networks().is_empty());
    let [part] = got.parts() else { panic!("one part") };
    let texts: Vec<&str> = part.schedule.iter().map(|s| s.text.as_str()).collect();
    assert_eq!((part.weight, texts), (1.0, vec!["<lora:x:1> a AND b:2", "<lora:x:1> a AND c:2"]));
}

#[test]
fn an_empty_negative_prompt_is_zeros_for_sdxl_only() {
    for style in [TextStyle::Sdxl, TextStyle::SdxlRefiner] {
        let nothing = encode("", Role::Negative, style);
        let one = &nothing.at(0)[0].1;
        assert_eq!(one.context.dims(), [1, 77, encoders(style).context_width()]);
        assert!(values(&one.context).iter().chain(&values(one.pooled.as_ref().unwrap())).all(|v| *v == 0.0));
        for (prompt, role) in [("", Role::Positive), (" ", Role::Negative)] {
            let something = encode(prompt, role, style);
            assert!(values(&something.at(0)[0].1.context).iter().any(|v| *v != 0.0), "{prompt:?} {role:?}");
        }
    }
    let nothing = encode("", Role::Negative, TextStyle::Sd1);
    assert_eq!(bits(&nothing.at(0)[0].1.context), bits(&context("")));
}

#[test]
fn parts_change_at_their_own_steps() {
    let got = encode("[a:b:3] AND [c:d:0.6]:0.5 AND e", Role::Positive, TextStyle::Sd1);
    assert!(!got.is_constant());
    // Calls of the model count from 0, schedules from 1.
    for (step, want) in [
        (0, ["a", "c", "e"]),
        (3, ["a", "c", "e"]),
        (4, ["b", "c", "e"]),
        (6, ["b", "c", "e"]),
        (7, ["b", "d", "e"]),
        (99, ["b", "d", "e"]),
    ] {
        let parts = got.at(step);
        assert_eq!(parts.iter().map(|p| p.0).collect::<Vec<_>>(), [1.0, 0.5, 1.0]);
        for ((_, one), text) in parts.iter().zip(want) {
            assert_eq!(bits(&one.context), bits(&context(text)), "step {step}: {text}");
        }
    }
    assert!(encode("a cat", Role::Positive, TextStyle::Sd1).is_constant());
}

#[test]
fn shorter_parts_repeat_their_last_token() {
    let long = "very ".repeat(80);
    let got = encode(&format!("cat AND {long}"), Role::Positive, TextStyle::Sd1);
    let [(_, short), (_, full)] = got.at(0) else { panic!("two parts") };
    assert_eq!(
        (short.context.dims(), full.context.dims()),
        ([1, 154, 16].as_slice(), [1, 154, 16].as_slice())
    );
    let alone = context("cat");
    let last = alone.narrow(1, 76, 1).unwrap().broadcast_as((1, 77, 16)).unwrap();
    assert_eq!(bits(&short.context), bits(&Tensor::cat(&[&alone, &last], 1).unwrap()));
}
