//! The text that makes a picture again: A1111's `create_infotext`.

use std::fmt::{Display, Write};

use crate::pipeline::{Area, Fill, Hires, HiresSize, Inpaint, LoadOptions, Request};
use crate::random::NoiseSource;
use crate::schedule::Schedule;
use crate::text::EmphasisMode;

/// Files besides the model that take part in a picture: what prompts call them, and their hashes in hexadecimal
/// digits.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Credits {
    pub adapters: Vec<(String, String)>,
    pub embeddings: Vec<(String, String)>,
    pub vae: Option<(String, String)>,
}

/// Prompt, negative prompt, one line of `Key: value` pairs. `picture` counts within the batch.
pub fn infotext(
    request: &Request,
    model: &LoadOptions,
    refiner: Option<&LoadOptions>,
    credits: &Credits,
    picture: u32,
) -> String {
    let mut text = request.prompt.clone();
    if !request.negative_prompt.is_empty() {
        text.push_str("\nNegative prompt: ");
        text.push_str(&request.negative_prompt);
    }
    text.push('\n');
    let mut pairs = Pairs(Vec::new());
    general(&mut pairs, request, model, picture);
    if let Some((name, hash)) = &credits.vae {
        pairs.add("VAE hash", prefix(hash, 10));
        pairs.add("VAE", name);
    }
    noise(&mut pairs, request, picture);
    sampler(&mut pairs, request);
    if let Some(inpaint) = request.mode.inpaint() {
        mask(&mut pairs, inpaint);
    }
    if let Some(hires) = &request.hires {
        second_pass(&mut pairs, request, hires);
    }
    if let Some((share, refiner)) = request.refiner_switch_at.zip(refiner) {
        pairs.add("Refiner", titled(refiner));
        pairs.add("Refiner switch at", share);
    }
    for (key, files) in [("Lora hashes", &credits.adapters), ("TI hashes", &credits.embeddings)] {
        // As A1111 writes them, who reads them back by these marks.
        let file = |(name, hash): &(String, String)| {
            format!("{}: {}", name.replace([':', ','], ""), prefix(hash, 12))
        };
        pairs.add_if(!files.is_empty(), key, files.iter().map(file).collect::<Vec<_>>().join(", "));
    }
    pairs.add("Version", format!("easel {}", env!("CARGO_PKG_VERSION")));
    for (i, (key, value)) in pairs.0.into_iter().enumerate() {
        let comma = if i == 0 { "" } else { ", " };
        write!(text, "{comma}{key}: {}", quoted(&value)).expect("writing to a String cannot fail");
    }
    text
}

struct Pairs(Vec<(&'static str, String)>);

impl Pairs {
    fn add(&mut self, key: &'static str, value: impl Display) {
        self.0.push((key, value.to_string()));
    }

    fn add_if(&mut self, condition: bool, key: &'static str, value: impl Display) {
        if condition {
            self.add(key, value);
        }
    }
}

fn general(pairs: &mut Pairs, request: &Request, model: &LoadOptions, picture: u32) {
    pairs.add("Steps", request.steps);
    pairs.add("Sampler", request.sampler.name());
    pairs.add("Schedule type", schedule_type(request));
    pairs.add("CFG scale", decimal(request.guidance_scale));
    if let Some(scale) = request.image_guidance_scale {
        pairs.add("Image CFG scale", decimal(scale));
    }
    pairs.add("Seed", request.seed_of(picture));
    pairs.add("Size", format!("{}x{}", request.width, request.height));
    if let Some(hash) = short_hash(model) {
        pairs.add("Model hash", hash);
    }
    if let Some(name) = &model.name {
        pairs.add("Model", name);
    }
}

fn noise(pairs: &mut Pairs, request: &Request, picture: u32) {
    if let Some(variation) = request.variation.filter(|v| v.strength > 0.0) {
        pairs.add("Variation seed", variation.seed.wrapping_add(u64::from(picture)));
        pairs.add("Variation seed strength", variation.strength);
    }
    if let Some((width, height)) = request.seed_resize {
        pairs.add("Seed resize from", format!("{width}x{height}"));
    }
    let strength = request.mode.source().map(|s| s.strength);
    if let Some(strength) = strength.or(request.hires.as_ref().map(|h| h.strength)) {
        pairs.add("Denoising strength", strength);
    }
    pairs.add_if(request.clip_skip > 1, "Clip skip", request.clip_skip);
    pairs.add_if(request.ensd != 0 && request.sampler.entry().uses_ensd, "ENSD", request.ensd);
    // A1111 takes its noise from the GPU unless it says so.
    pairs.add_if(request.noise_source != NoiseSource::Gpu, "RNG", request.noise_source.name());
    pairs.add_if(request.tiling, "Tiling", "True");
}

fn sampler(pairs: &mut Pairs, request: &Request) {
    let entry = request.sampler.entry();
    if let Some((default, key)) = entry.eta {
        let eta = request.eta.unwrap_or(default);
        pairs.add_if(eta != default, key, decimal(eta));
    }
    let churn = &request.churn;
    if entry.churn {
        pairs.add_if(churn.s_churn != 0.0, "Sigma churn", decimal(churn.s_churn));
        pairs.add_if(churn.s_tmin != 0.0, "Sigma tmin", decimal(churn.s_tmin));
        pairs.add_if(churn.s_tmax.is_finite(), "Sigma tmax", decimal(churn.s_tmax));
    }
    pairs.add_if(entry.s_noise && churn.s_noise != 1.0, "Sigma noise", decimal(churn.s_noise));
    pairs.add_if(request.discard_penultimate, "Discard penultimate sigma", "True");
    for (key, value) in [
        ("Schedule min sigma", request.sigmas.sigma_min),
        ("Schedule max sigma", request.sigmas.sigma_max),
        ("Schedule rho", request.sigmas.rho),
    ] {
        if let Some(value) = value {
            pairs.add(key, decimal(value));
        }
    }
    let emphasis = request.emphasis;
    pairs.add_if(emphasis != EmphasisMode::Original, "Emphasis", emphasis.name());
    pairs.add_if(request.guidance_rescale != 0.0, "Guidance rescale", decimal(request.guidance_rescale));
}

fn mask(pairs: &mut Pairs, inpaint: &Inpaint) {
    pairs.add_if(inpaint.inverted, "Mask mode", "Inpaint not masked");
    pairs.add_if(inpaint.mask_blur > 0, "Mask blur", inpaint.mask_blur);
    if let Area::OnlyMasked { padding } = inpaint.area {
        pairs.add("Inpaint area", "Only masked");
        pairs.add("Masked area padding", padding);
    }
    match inpaint.fill {
        Fill::Original => {}
        Fill::Fill => pairs.add("Masked content", "fill"),
        Fill::LatentNoise => pairs.add("Masked content", "latent noise"),
        Fill::LatentNothing => pairs.add("Masked content", "latent nothing"),
    }
}

fn second_pass(pairs: &mut Pairs, request: &Request, hires: &Hires) {
    if let Some(sampler) = hires.sampler.filter(|s| *s != request.sampler) {
        pairs.add("Hires sampler", sampler.name());
    }
    if let Some(schedule) = hires.schedule.filter(|s| *s != request.schedule) {
        pairs.add("Hires schedule type", schedule.name());
    }
    if let Some(scale) = hires.guidance_scale.filter(|s| *s != request.guidance_scale) {
        pairs.add("Hires CFG Scale", decimal(scale));
    }
    if let Some(prompt) = hires.prompt.as_ref().filter(|p| **p != request.prompt) {
        pairs.add("Hires prompt", prompt);
    }
    if let Some(prompt) = hires.negative_prompt.as_ref().filter(|p| **p != request.negative_prompt) {
        pairs.add("Hires negative prompt", prompt);
    }
    match hires.size {
        HiresSize::Scale(scale) => pairs.add("Hires upscale", scale),
        HiresSize::Exact { width, height } => pairs.add("Hires resize", format!("{width}x{height}")),
    }
    if let Some(steps) = hires.steps {
        pairs.add("Hires steps", steps);
    }
    pairs.add("Hires upscaler", hires.upscaler.name());
}

fn short_hash(model: &LoadOptions) -> Option<String> {
    model.sha256.as_ref().map(|hash| prefix(hash, 10))
}

fn prefix(hash: &str, digits: usize) -> String {
    hash.chars().take(digits).collect()
}

/// `name [hash]`, as A1111 names other models than the first.
fn titled(model: &LoadOptions) -> String {
    let name = model.name.as_deref().unwrap_or("refiner");
    short_hash(model).map_or_else(|| name.to_owned(), |hash| format!("{name} [{hash}]"))
}

/// A1111 writes what `Automatic` became only where it is not the even schedule.
fn schedule_type(request: &Request) -> &'static str {
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
    use crate::pipeline::{ImageToImage, Mode, Resize, Variation};
    use crate::samplers::Sampler;
    use std::sync::Arc;

    fn plain(request: &Request, picture: u32) -> String {
        infotext(request, &LoadOptions::default(), None, &Credits::default(), picture)
    }

    #[test]
    fn files_besides_the_model_are_named_with_their_hashes() {
        let named = |name: &str| (name.to_owned(), "0123456789abcdef".to_owned());
        let credits = Credits {
            adapters: vec![named("ink, v2"), named("b")],
            embeddings: vec![named("sks")],
            vae: Some(named("mse.pt")),
        };
        let text = infotext(&Request::default(), &LoadOptions::default(), None, &credits, 0);
        let want = "Size: 512x512, VAE hash: 0123456789, VAE: mse.pt, RNG: CPU, Lora hashes: \"ink v2: 0123456789ab, \
                    b: 0123456789ab\", TI hashes: \"sks: 0123456789ab\", Version";
        assert!(text.contains(want), "{text}");
    }

    #[test]
    fn the_text_is_what_a1111_reads_back() {
        let request = Request {
            prompt: "a red circle\non blue".into(),
            negative_prompt: "green".into(),
            width: 64,
            height: 128,
            seed: 5,
            ..Default::default()
        };
        let model = LoadOptions {
            name: Some("demo, v1".into()),
            sha256: Some("0123456789abcdef".into()),
            ..Default::default()
        };
        let version = env!("CARGO_PKG_VERSION");
        assert_eq!(
            infotext(&request, &model, None, &Credits::default(), 0),
            format!(
                "a red circle\non blue\nNegative prompt: green\nSteps: 20, Sampler: Euler a, Schedule type: \
                 Automatic, CFG scale: 7.0, Seed: 5, Size: 64x128, Model hash: 0123456789, Model: \"demo, v1\", \
                 RNG: CPU, Version: easel {version}"
            )
        );
    }

    #[test]
    fn schedules_skips_and_etas_are_named_when_they_matter() {
        let request = Request {
            sampler: Sampler::parse("DPM++ 2M").unwrap().0,
            clip_skip: 2,
            guidance_scale: 7.5,
            ..Default::default()
        };
        let text = plain(&request, 0);
        assert!(text.contains("Schedule type: Karras, CFG scale: 7.5"), "{text}");
        assert!(text.contains("Clip skip: 2"), "{text}");
        let ddim = Request { sampler: Sampler::parse("DDIM").unwrap().0, eta: Some(0.5), ..request };
        assert!(plain(&ddim, 0).contains("Eta DDIM: 0.5"));
    }

    #[test]
    fn every_mode_has_the_keys_that_a1111_reads() {
        let picture = Arc::new(image::RgbImage::new(8, 8));
        let source = ImageToImage { picture, strength: 0.6, resize: Resize::default() };
        let inpaint = Inpaint {
            mask: Arc::new(image::GrayImage::new(8, 8)),
            mask_blur: 4,
            fill: Fill::LatentNoise,
            area: Area::OnlyMasked { padding: 32 },
            inverted: true,
        };
        let masked = Request {
            mode: Mode::Inpaint(source, inpaint),
            variation: Some(Variation { seed: 9, strength: 0.25 }),
            seed_resize: Some((64, 128)),
            ensd: 31_337,
            tiling: true,
            seed: 7,
            ..Default::default()
        };
        let text = plain(&masked, 1);
        let want = "Seed: 7, Size: 512x512, Variation seed: 10, Variation seed strength: 0.25, Seed resize from: \
                    64x128, Denoising strength: 0.6, ENSD: 31337, RNG: CPU, Tiling: True, Mask mode: Inpaint not \
                    masked, Mask blur: 4, Inpaint area: Only masked, Masked area padding: 32, Masked content: \
                    latent noise, Version";
        assert!(text.contains(want), "{text}");

        let hires = Hires { steps: Some(8), prompt: Some("more".into()), ..Default::default() };
        let enlarged = Request {
            hires: Some(hires),
            refiner_switch_at: Some(0.8),
            noise_source: NoiseSource::Gpu,
            ..Default::default()
        };
        let refiner = LoadOptions { name: Some("fine".into()), ..Default::default() };
        let text = infotext(&enlarged, &LoadOptions::default(), Some(&refiner), &Credits::default(), 0);
        let want = "Size: 512x512, Denoising strength: 0.7, Hires prompt: more, Hires upscale: 2, Hires steps: 8, \
                    Hires upscaler: Latent, Refiner: fine, Refiner switch at: 0.8, Version";
        assert!(text.contains(want), "{text}");
    }
}
