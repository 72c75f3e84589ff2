//! Tokens, hidden states, emphasis.

use easel_diffusion::text::{EncodeOptions, Tokenizer};

use crate::golden::{assert_close, model, path, tensors};
use crate::parity;

/// Two and a half times the largest difference between the reference in f32 and in f64
/// (`golden/spread.json`), for states of standard deviation 1. Measured on AVX-512: 4.3e-6, 2.6e-6.
const CLIP: f32 = 2.5 * 3.16e-6;
const EMPHASIS: f32 = 2.5 * 2.26e-6;
const ORIGIN: &str = "2.5 × the reference's own difference between f32 and f64";

#[test]
fn tokens_are_those_of_transformers() {
    let cases: Vec<serde_json::Value> =
        serde_json::from_slice(&std::fs::read(path("tokens.json")).unwrap()).unwrap();
    assert!(cases.len() > 10);
    for case in cases {
        let text = case["text"].as_str().unwrap();
        let want: Vec<u32> =
            case["ids"].as_array().unwrap().iter().map(|v| v.as_u64().unwrap() as u32).collect();
        assert_eq!(Tokenizer::shared().encode(text), want, "{text:?}");
    }
}

#[test]
fn hidden_states_are_those_of_transformers() {
    let golden = tensors("text.safetensors");
    let ids: Vec<Vec<u32>> = golden["ids"].to_dtype(candle_core::DType::U32).unwrap().to_vec2().unwrap();
    for skip in [1, 2] {
        let hidden = model().text_encoder().clip().forward(&ids, skip).unwrap();
        let worst =
            assert_close(&format!("clip skip {skip}"), &hidden, &golden[&format!("hidden.skip{skip}")], CLIP);
        parity::record("SD 1.x", &format!("CLIP, clip skip {skip}"), worst, f64::from(CLIP), ORIGIN);
    }
}

#[test]
fn emphasis_and_long_prompts_are_those_of_the_web_ui() {
    let golden = tensors("text.safetensors");
    let long = format!("{}(long:0.5)", "very ".repeat(80));
    let prompts = ["a (red:1.3) circle on a [blue] background", "((cat)) BREAK dog", &long];
    for (i, prompt) in prompts.iter().enumerate() {
        let context = model().text_encoder().encode(prompt, &EncodeOptions::default()).unwrap().context;
        assert_close(prompt, &context, &golden[&format!("emphasis.{i}")], EMPHASIS);
    }
}
