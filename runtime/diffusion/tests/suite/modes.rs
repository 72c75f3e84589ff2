//! Every mode against the web UI's rules on diffusers' modules (`golden/modes/make.py`).

use std::collections::HashMap;
use std::ops::ControlFlow;
use std::sync::Arc;

use candle_core::{DType, Tensor, safetensors};
use easel_diffusion::adapters::Adapter;
use easel_diffusion::control::ControlUnit;
use easel_diffusion::raster::{LatentFilter, ResizeMode};
use easel_diffusion::{
    Area, Fill, Hires, HiresSize, ImageToImage, Inpaint, Library, LoadOptions, Mode, Observer, Pipeline,
    Progress, Request, Resize, Sampler, Stage, Surroundings, Upscaler, Variation,
};
use image::{GrayImage, RgbImage};

use crate::control::net;
use crate::golden::{Tensors, bits, has_fresh_noise, load, model, path, tensors, values};
use crate::parity;

const SEED: u64 = 21;
/// Decibels that every picture must reach, and those of ancestral and SDE samplers.
const PSNR: f64 = 50.0;
const PSNR_WITH_FRESH_NOISE: f64 = 45.0;
const ORIGIN: &str = "PSNR of the pictures, at least; the latents' difference is held to \
                      five times the reference's own between f32 and f64";

struct Goldens {
    tensors: Tensors,
    spread: HashMap<String, f64>,
}

fn goldens() -> Goldens {
    let spread = std::fs::read_to_string(path("modes/spread.json")).unwrap();
    Goldens { tensors: tensors("modes/modes.safetensors"), spread: serde_json::from_str(&spread).unwrap() }
}

impl Goldens {
    fn bytes(&self, name: &str) -> (Vec<u8>, u32, u32) {
        let x = &self.tensors[name];
        let bytes = x.flatten_all().unwrap().to_vec1::<u8>().unwrap();
        (bytes, x.dim(1).unwrap() as u32, x.dim(0).unwrap() as u32)
    }

    fn picture(&self, name: &str) -> RgbImage {
        let (bytes, width, height) = self.bytes(name);
        RgbImage::from_raw(width, height, bytes).unwrap()
    }

    fn source(&self, size: &str, strength: f64, resize: Resize) -> ImageToImage {
        ImageToImage { picture: Arc::new(self.picture(&format!("source.{size}"))), strength, resize }
    }

    fn mask(&self) -> Arc<GrayImage> {
        let (bytes, width, height) = self.bytes("mask");
        Arc::new(GrayImage::from_raw(width, height, bytes).unwrap())
    }

    fn inpaint(&self, fill: Fill) -> (ImageToImage, Inpaint) {
        let inpaint =
            Inpaint { mask: self.mask(), mask_blur: 4, fill, area: Area::WholePicture, inverted: false };
        (self.source("96x80", 0.75, Resize::default()), inpaint)
    }

    /// Runs a request and compares latents and pictures with the golden ones.
    fn compare(&self, name: &str, model: &Pipeline, refiner: Option<&Pipeline>, request: &Request) {
        let around = Surroundings { refiner, ..Default::default() };
        let pictures = model.generate_with(around, request, &mut Onwards).unwrap();
        let least = if has_fresh_noise(request.sampler) { PSNR_WITH_FRESH_NOISE } else { PSNR };
        let mut worst = f64::INFINITY;
        for (i, picture) in pictures.iter().enumerate() {
            let want = self.picture(&format!("{name}.{i}"));
            worst = worst.min(parity::psnr(&picture.rgb, &want));
        }
        assert!(!self.tensors.contains_key(&format!("{name}.{}", pictures.len())), "{name}: pictures");
        let max_abs = refiner.is_none().then(|| self.compare_latents(name, model, request));
        println!("{name}: {worst:.1} dB");
        assert!(worst >= least, "{name}: {worst:.1} dB, at least {least}");
        let psnr = Some(worst);
        let row =
            parity::Row { area: "Modes", feature: name, max_abs, psnr, tolerance: least, origin: ORIGIN };
        parity::write(&row);
    }

    fn compare_latents(&self, name: &str, model: &Pipeline, request: &Request) -> f64 {
        let got = model.denoise(request, &mut |_| ControlFlow::Continue(())).unwrap();
        let want = &self.tensors[name];
        assert_eq!(got.dims(), want.dims(), "{name}");
        let off = values(&got).into_iter().zip(values(want)).map(|(a, b)| f64::from((a - b).abs()));
        let off = off.fold(0.0, f64::max);
        let allowed = 5.0 * self.spread[name];
        println!("{name}: latents differ by {off:.1e}, allowed {allowed:.1e}");
        assert!(off <= allowed, "{name}: latents differ by {off:e}, allowed {allowed:e}");
        off
    }
}

/// An observer that only lets the work go on.
struct Onwards;

impl Observer for Onwards {
    fn progress(&mut self, _: Progress) -> ControlFlow<()> {
        ControlFlow::Continue(())
    }
}

fn request() -> Request {
    Request {
        prompt: "a red circle on a blue background".into(),
        width: 64,
        height: 64,
        steps: 8,
        guidance_scale: 5.0,
        sampler: sampler("Euler"),
        seed: SEED,
        ..Default::default()
    }
}

fn sampler(name: &str) -> Sampler {
    Sampler::parse(name).unwrap().0
}

/// The tiny model with some tensors changed.
fn changed(change: impl FnOnce(&mut Tensors)) -> Pipeline {
    let mut all = tensors("tiny-sd1.safetensors");
    change(&mut all);
    let file = tempfile::NamedTempFile::new().unwrap();
    safetensors::save(&all, file.path()).unwrap();
    load(file.path())
}

fn halved() -> Pipeline {
    changed(|all| {
        let weight = all.get_mut("model.diffusion_model.out.2.weight").unwrap();
        *weight = (&*weight * 0.5).unwrap();
    })
}

/// The tiny model with further input channels.
fn widened(goldens: &Goldens, count: usize) -> Pipeline {
    let more = goldens.tensors["wide"].narrow(1, 0, count).unwrap().to_dtype(DType::F16).unwrap();
    changed(|all| {
        let weight = all.get_mut("model.diffusion_model.input_blocks.0.0.weight").unwrap();
        *weight = Tensor::cat(&[&*weight, &more], 1).unwrap();
    })
}

#[test]
fn pictures_become_other_pictures() {
    let goldens = goldens();
    let (crop, fill) = (ResizeMode::CropAndResize, ResizeMode::ResizeAndFill);
    let half = goldens.source("64x64", 0.5, Resize::default());
    let most = goldens.source("80x56", 0.75, Resize::Picture(crop));
    let ddim = goldens.source("80x56", 0.75, Resize::Picture(fill));
    let latent = goldens.source("96x72", 0.6, Resize::Latent);
    let cases = [
        ("img2img.half", half, "Euler", 2),
        ("img2img.most", most, "Euler a", 1),
        ("img2img.ddim", ddim, "DDIM", 1),
        ("img2img.latent", latent, "Euler", 1),
    ];
    for (name, source, by, batch_size) in cases {
        let mode = Mode::ImageToImage(source);
        goldens.compare(
            name,
            model(),
            None,
            &Request { mode, sampler: sampler(by), batch_size, ..request() },
        );
    }
}

#[test]
fn masks_are_filled_blurred_inverted_and_cut_out() {
    let goldens = goldens();
    type Change = fn(&mut ImageToImage, &mut Inpaint);
    let cases: &[(&str, Fill, &str, u32, Change)] = &[
        ("inpaint.original", Fill::Original, "Euler", 1, |_, _| {}),
        ("inpaint.fill", Fill::Fill, "Euler", 1, |_, _| {}),
        ("inpaint.noise", Fill::LatentNoise, "Euler", 2, |_, _| {}),
        ("inpaint.nothing", Fill::LatentNothing, "Euler a", 1, |_, _| {}),
        ("inpaint.inverted", Fill::Original, "Euler", 1, |source, inpaint| {
            inpaint.inverted = true;
            source.resize = Resize::Picture(ResizeMode::CropAndResize);
        }),
        ("inpaint.masked", Fill::Original, "Euler", 1, |_, inpaint| {
            inpaint.area = Area::OnlyMasked { padding: 8 };
        }),
        ("inpaint.masked_fill", Fill::Fill, "Euler", 1, |_, inpaint| {
            inpaint.area = Area::OnlyMasked { padding: 16 };
            inpaint.mask_blur = 0;
        }),
        ("inpaint.ddim", Fill::Original, "DDIM", 1, |_, _| {}),
    ];
    for (name, fill, by, batch_size, change) in cases {
        let (mut source, mut inpaint) = goldens.inpaint(*fill);
        change(&mut source, &mut inpaint);
        let mode = Mode::Inpaint(source, inpaint);
        let request = Request { mode, sampler: sampler(by), batch_size: *batch_size, ..request() };
        goldens.compare(name, model(), None, &request);
    }
}

#[test]
fn every_sampler_goes_on_from_the_references_pictures_and_masks() {
    let goldens = goldens();
    for by in Sampler::all() {
        let source = goldens.source("64x64", 0.75, Resize::default());
        let mode = Mode::ImageToImage(source);
        goldens.compare(
            &format!("img2img, {by}"),
            model(),
            None,
            &Request { mode, sampler: by, ..request() },
        );
        let (source, inpaint) = goldens.inpaint(Fill::Original);
        let mode = Mode::Inpaint(source, inpaint);
        goldens.compare(
            &format!("inpaint, {by}"),
            model(),
            None,
            &Request { mode, sampler: by, ..request() },
        );
    }
}

#[test]
fn models_that_read_masks_and_pictures_are_shown_them() {
    let goldens = goldens();
    let (source, inpaint) = goldens.inpaint(Fill::Original);
    let nine = widened(&goldens, 5);
    let masked = Request { mode: Mode::Inpaint(source, inpaint), ..request() };
    goldens.compare("inpaint.nine", &nine, None, &masked);
    let error = nine.validate(&request()).unwrap_err();
    assert_eq!(
        error.to_string(),
        "`model.diffusion_model.input_blocks.0.0.weight` is [32, 9, 3, 3]: an inpainting model; the request has \
         no mask"
    );

    let eight = widened(&goldens, 4);
    let source = goldens.source("64x64", 0.8, Resize::default());
    let edit = Request { mode: Mode::ImageToImage(source), image_guidance_scale: Some(1.5), ..request() };
    goldens.compare("edit", &eight, None, &edit);
    assert_eq!(eight.validate(&request()).unwrap_err().reason(), "PictureRequired");
    assert_eq!(model().validate(&edit).unwrap_err().reason(), "NotForThisModel");
}

#[test]
fn a_second_pass_draws_larger() {
    let goldens = goldens();
    let refiner = halved();
    let hires = Hires { size: HiresSize::Scale(1.5), strength: 0.6, ..Default::default() };
    let latent = |filter| Upscaler::Latent(filter);
    let bicubic = Hires {
        size: HiresSize::Exact { width: 128, height: 96 },
        upscaler: latent(LatentFilter::BicubicAntialiased),
        steps: Some(5),
        prompt: Some("Hello, World!!!".into()),
        ..hires.clone()
    };
    let nearest = Hires { upscaler: latent(LatentFilter::NearestExact), ..hires.clone() };
    let lanczos = Hires { upscaler: Upscaler::Lanczos, ..hires.clone() };
    let run = |name: &str, hires: Hires, batch_size: u32, switch: Option<f64>| {
        let request = Request { hires: Some(hires), batch_size, refiner_switch_at: switch, ..request() };
        goldens.compare(name, model(), switch.map(|_| &refiner), &request);
    };
    run("hires.latent", hires, 1, None);
    run("hires.bicubic", bicubic, 1, None);
    run("hires.lanczos", lanczos, 2, None);
    run("hires.refiner", nearest, 1, Some(0.7));
}

#[test]
fn noise_guidance_padding_and_models_change_as_asked() {
    let goldens = goldens();
    let refiner = halved();
    let run = |name: &str, switch: Option<f64>, request: Request| {
        let request = Request { refiner_switch_at: switch, ..request };
        goldens.compare(name, model(), switch.map(|_| &refiner), &request);
    };
    let varied = Variation { seed: 5, strength: 0.3 };
    let by = sampler("Euler a");
    run("variation", None, Request { variation: Some(varied), batch_size: 2, sampler: by, ..request() });
    run("seed_resize", None, Request { seed_resize: Some((64, 64)), width: 96, sampler: by, ..request() });
    run("tiling", None, Request { tiling: true, ..request() });
    run("rescale", None, Request { guidance_scale: 9.0, guidance_rescale: 0.7, ..request() });
    run("plain", None, Request { guidance_scale: 1.0, ..request() });
    run("refiner", Some(0.5), request());
    let alone = Request { refiner_switch_at: Some(0.5), ..request() };
    let refused = model().generate(&alone, &mut |_| ControlFlow::Continue(())).unwrap_err();
    assert_eq!(refused.reason(), "RefinerRequired");
}

/// Keeps every preview and ends the work before pictures are decoded.
#[derive(Default)]
struct Viewer {
    previews: Vec<(u32, Vec<RgbImage>)>,
    step: u32,
}

impl Observer for Viewer {
    fn progress(&mut self, progress: Progress) -> ControlFlow<()> {
        self.step = progress.step;
        if progress.stage == Stage::Decode { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    }

    fn wants_preview(&mut self, progress: Progress) -> bool {
        progress.step.is_multiple_of(2)
    }

    fn preview(&mut self, pictures: Vec<RgbImage>) {
        self.previews.push((self.step, pictures));
    }
}

#[test]
fn previews_come_when_they_are_asked_for() {
    let mut viewer = Viewer::default();
    let request = Request { batch_size: 2, steps: 5, ..request() };
    let around = Surroundings::default();
    let error = model().generate_with(around, &request, &mut viewer).unwrap_err();
    assert_eq!(error.reason(), "Cancelled");
    let steps: Vec<u32> = viewer.previews.iter().map(|(step, _)| *step).collect();
    assert_eq!(steps, [2, 4]);
    let size = |pictures: &[RgbImage]| pictures.iter().map(RgbImage::dimensions).collect::<Vec<_>>();
    assert_eq!(size(&viewer.previews[0].1), [(8, 8), (8, 8)]);
    assert_ne!(viewer.previews[0].1, viewer.previews[1].1);
}

#[test]
fn prompts_with_and_and_edits_and_networks_steer_the_steps() {
    let goldens = goldens();
    let (one, other) = ("a red circle on a blue background", "Hello, World!!!");
    let both = Request { prompt: format!("{one} AND {other} :0.5"), ..request() };
    goldens.compare("and", model(), None, &both);
    let edited = Request { prompt: format!("[{one}:{other}:0.5]"), ..request() };
    goldens.compare("editing", model(), None, &edited);
    let hint = goldens.picture("source.64x64").into();
    let unit = ControlUnit { weight: 0.8, start: 0.25, end: 0.75, ..ControlUnit::new(net("sd1-a"), hint) };
    goldens.compare("control", model(), None, &Request { control: vec![unit], ..request() });
}

#[test]
fn what_does_not_fit_into_memory_is_refused_with_the_figure() {
    let needed = model().estimate_bytes(&request());
    let options = LoadOptions { memory_limit_bytes: Some(needed - 1), ..Default::default() };
    let small = Pipeline::load(&path("tiny-sd1.safetensors"), &options).unwrap();
    let error = small.generate(&request(), &mut |_| panic!("no work may begin")).unwrap_err();
    assert_eq!(error.reason(), "NotEnoughMemory");
    assert!(error.to_string().contains(&format!("about {} MiB", needed >> 20)), "{error}");
    let enlarged = Request { hires: Some(Hires::default()), ..request() };
    assert!(model().estimate_bytes(&enlarged) > needed);
    let unit = ControlUnit::new(net("sd1-a"), goldens().picture("source.64x64").into());
    let weights = unit.net.weight_bytes();
    let steered = Request { control: vec![unit], ..request() };
    assert!(model().estimate_bytes(&steered) > needed + weights);

    // What fits by itself, and with an adapter does not.
    let options = LoadOptions { memory_limit_bytes: Some(needed), ..Default::default() };
    let exact = Pipeline::load(&path("tiny-sd1.safetensors"), &options).unwrap();
    let mut library = Library::default();
    library.add_adapter("l", Arc::new(Adapter::load(&path("adapters/lora.safetensors"), None).unwrap()));
    let around = Surroundings { library: Some(&library), ..Default::default() };
    let adapted = Request { prompt: "a red circle <lora:l:0.5>".into(), ..request() };
    let error = exact.generate_with(around, &adapted, &mut Ends).unwrap_err();
    assert_eq!(error.reason(), "NotEnoughMemory", "{error}");
}

/// Nothing may be reported to it.
struct Ends;

impl Observer for Ends {
    fn progress(&mut self, _: Progress) -> ControlFlow<()> {
        panic!("no work may begin")
    }
}

#[test]
fn every_sampler_enters_anywhere() {
    let goldens = goldens();
    for by in Sampler::all() {
        for (strength, steps) in [(0.0, 2), (0.4, 3), (1.0, 2)] {
            let mode = Mode::ImageToImage(goldens.source("64x64", strength, Resize::default()));
            let request = Request { mode, sampler: by, steps, batch_size: 2, ..request() };
            let together = model().denoise(&request, &mut |_| ControlFlow::Continue(())).unwrap();
            let finite = values(&together).iter().all(|v| v.is_finite());
            assert!(finite, "{by}, {strength} of {steps} steps");
            let second = Request { seed: SEED + 1, batch_size: 1, ..request };
            let alone = model().denoise(&second, &mut |_| ControlFlow::Continue(())).unwrap();
            let same = bits(&together.narrow(0, 1, 1).unwrap().contiguous().unwrap()) == bits(&alone);
            assert!(same, "{by}, {strength} of {steps} steps: a picture felt its company");
        }
    }
}
