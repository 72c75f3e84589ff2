//! The arguments as the engine's request.

use std::sync::Arc;

use easel_diffusion::control::preprocess::{Prepared, Source, preprocess};
use easel_diffusion::random::NoiseSource;
use easel_diffusion::{
    Area, Fill, Hires, HiresSize, ImageToImage, Inpaint, Mode, Request, Resize, Sampler, Schedule, Upscaler,
    Variation,
};
use easel_protocol::FailureReport;

use super::args::{FillArg, GenerateArgs, HiresArgs, NetworkArgs, SourceArgs};
use super::files::open;
use crate::error::chain;
use crate::random;

/// A value that names nothing.
fn unknown(reason: &'static str, error: impl std::fmt::Display) -> FailureReport {
    FailureReport::new(reason, error.to_string(), false)
}

/// All of the request but its ControlNets, checked as far as it can be without a model.
pub(super) fn request(args: &GenerateArgs) -> Result<Request, FailureReport> {
    let (sampler, implied) = Sampler::parse(&args.sampler).map_err(|e| unknown("UnknownSampler", e))?;
    let schedule = match &args.schedule {
        Some(name) => Schedule::parse(name).map_err(|e| unknown("UnknownSchedule", e))?,
        None => implied.unwrap_or_default(),
    };
    let noise_source = NoiseSource::parse(&args.noise.rng).ok_or_else(|| {
        unknown("UnknownNoiseSource", format!("--rng {}: use cpu, gpu or nv", args.noise.rng))
    })?;
    let variation = args.noise.variation_seed.zip(args.noise.variation_strength);
    let request = Request {
        prompt: args.prompt.clone(),
        negative_prompt: args.negative_prompt.clone(),
        width: args.width,
        height: args.height,
        steps: args.steps,
        guidance_scale: args.cfg,
        sampler,
        schedule,
        // 32 bits, as the clients of A1111 use: a person may have to type it again.
        seed: args.seed.unwrap_or_else(|| random::bits() >> 32),
        batch_size: args.batch_size,
        clip_skip: args.clip_skip,
        eta: args.eta,
        tiling: args.tiling,
        mode: mode(&args.source)?,
        hires: hires(&args.hires)?,
        variation: variation.map(|(seed, strength)| Variation { seed, strength }),
        refiner_switch_at: args.networks.refiner.as_ref().map(|_| args.networks.refiner_switch_at),
        guidance_rescale: args.noise.guidance_rescale,
        noise_source,
        ensd: args.noise.ensd,
        image_guidance_scale: args.source.image_cfg,
        ..Request::default()
    };
    request
        .validate()
        .map_err(|error| FailureReport::new(error.reason(), chain(&error), error.retriable()))?;
    Ok(request)
}

fn mode(args: &SourceArgs) -> Result<Mode, FailureReport> {
    let Some(init) = &args.init else { return Ok(Mode::TextToImage) };
    let resize = args.resize_mode.parse().map_err(|e| unknown("UnknownResizeMode", e))?;
    let source = ImageToImage {
        picture: Arc::new(open("--init", init)?.to_rgb8()),
        strength: args.strength,
        resize: Resize::Picture(resize),
    };
    let Some(mask) = &args.mask else { return Ok(Mode::ImageToImage(source)) };
    let inpaint = Inpaint {
        mask: Arc::new(open("--mask", mask)?.to_luma8()),
        mask_blur: args.mask_blur,
        fill: match args.mask_fill {
            FillArg::Fill => Fill::Fill,
            FillArg::Original => Fill::Original,
            FillArg::LatentNoise => Fill::LatentNoise,
            FillArg::LatentNothing => Fill::LatentNothing,
        },
        area: args.only_masked.map_or(Area::WholePicture, |padding| Area::OnlyMasked { padding }),
        inverted: args.mask_invert,
    };
    Ok(Mode::Inpaint(source, inpaint))
}

fn hires(args: &HiresArgs) -> Result<Option<Hires>, FailureReport> {
    let Some(scale) = args.hires else { return Ok(None) };
    let upscaler: Upscaler = args.hires_upscaler.parse().map_err(|e| unknown("UnknownUpscaler", e))?;
    Ok(Some(Hires {
        size: HiresSize::Scale(scale),
        upscaler,
        steps: args.hires_steps,
        strength: args.hires_strength,
        ..Hires::default()
    }))
}

/// What a ControlNet is shown.
pub(super) fn hint(args: &NetworkArgs, seed: u64) -> Result<Option<Prepared>, FailureReport> {
    let Some(path) = &args.control_picture else { return Ok(None) };
    let picture = open("--control-picture", path)?.to_rgb8();
    let source = Source { seed, ..Source::new(&picture) };
    preprocess(&args.control_preprocessor, &source)
        .map(Some)
        .map_err(|error| FailureReport::new(error.reason(), chain(&error), error.retriable()))
}
