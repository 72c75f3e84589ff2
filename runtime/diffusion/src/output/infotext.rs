//! The text that makes a picture again: A1111's `create_infotext`.

use std::fmt::Write;

use crate::pipeline::{LoadOptions, TextToImage};
use crate::schedule::Schedule;

/// Prompt, negative prompt, one line of `Key: value` pairs.
pub fn infotext(request: &TextToImage, model: &LoadOptions, seed: u64) -> String {
    let mut text = request.prompt.clone();
    if !request.negative_prompt.is_empty() {
        text.push_str("\nNegative prompt: ");
        text.push_str(&request.negative_prompt);
    }
    text.push('\n');
    for (i, (key, value)) in pairs(request, model, seed).into_iter().enumerate() {
        let comma = if i == 0 { "" } else { ", " };
        write!(text, "{comma}{key}: {}", quoted(&value)).expect("writing to a String cannot fail");
    }
    text
}

fn pairs(request: &TextToImage, model: &LoadOptions, seed: u64) -> Vec<(&'static str, String)> {
    let entry = request.sampler.entry();
    let mut pairs = vec![
        ("Steps", request.steps.to_string()),
        ("Sampler", entry.name.to_owned()),
        ("Schedule type", schedule_type(request).to_owned()),
        ("CFG scale", decimal(request.guidance_scale)),
        ("Seed", seed.to_string()),
        ("Size", format!("{}x{}", request.width, request.height)),
    ];
    if let Some(sha256) = &model.sha256 {
        pairs.push(("Model hash", sha256.chars().take(10).collect()));
    }
    if let Some(name) = &model.name {
        pairs.push(("Model", name.clone()));
    }
    if request.clip_skip > 1 {
        pairs.push(("Clip skip", request.clip_skip.to_string()));
    }
    if let Some((default, key)) = entry.eta
        && request.effective_eta() != default
    {
        pairs.push((key, decimal(request.effective_eta())));
    }
    // A1111 takes its noise from the GPU unless it says so.
    pairs.push(("RNG", "CPU".to_owned()));
    pairs.push(("Version", format!("easel {}", env!("CARGO_PKG_VERSION"))));
    pairs
}

/// A1111 writes what `Automatic` became only where it is not the even schedule.
fn schedule_type(request: &TextToImage) -> &'static str {
    let resolved = request.sampler.resolve(request.schedule);
    match (request.schedule, resolved) {
        (Schedule::Automatic, Schedule::Uniform) => Schedule::Automatic.name(),
        _ => resolved.name(),
    }
}

/// As Python writes a float: always with a point.
fn decimal(value: f32) -> String {
    format!("{value:?}")
}

/// Values that would break the line are quoted as JSON strings.
fn quoted(value: &str) -> String {
    if value.contains([',', '\n', ':']) {
        return serde_json::Value::from(value).to_string();
    }
    value.to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::samplers::Sampler;

    #[test]
    fn the_text_is_what_a1111_reads_back() {
        let request = TextToImage {
            prompt: "a red circle\non blue".into(),
            negative_prompt: "green".into(),
            width: 64,
            height: 128,
            ..Default::default()
        };
        let model = LoadOptions {
            name: Some("demo, v1".into()),
            sha256: Some("0123456789abcdef".into()),
            ..LoadOptions::default()
        };
        let version = env!("CARGO_PKG_VERSION");
        assert_eq!(
            infotext(&request, &model, 5),
            format!(
                "a red circle\non blue\nNegative prompt: green\nSteps: 20, Sampler: Euler a, Schedule type: \
                 Automatic, CFG scale: 7.0, Seed: 5, Size: 64x128, Model hash: 0123456789, Model: \"demo, v1\", \
                 RNG: CPU, Version: easel {version}"
            )
        );
    }

    #[test]
    fn schedules_skips_and_etas_are_named_when_they_matter() {
        let request = TextToImage {
            sampler: Sampler::parse("DPM++ 2M").unwrap().0,
            clip_skip: 2,
            guidance_scale: 7.5,
            ..Default::default()
        };
        let text = infotext(&request, &LoadOptions::default(), 1);
        assert!(text.contains("Schedule type: Karras, CFG scale: 7.5"), "{text}");
        assert!(text.contains("Clip skip: 2"), "{text}");
        let ddim = TextToImage { sampler: Sampler::parse("DDIM").unwrap().0, eta: Some(0.5), ..request };
        assert!(infotext(&ddim, &LoadOptions::default(), 1).contains("Eta DDIM: 0.5"));
    }
}
