//! What the pipeline tells and asks each family, against the same run spelled out.
//!
//! The networks are held to diffusers in `families.rs` and `text_families.rs`; here it is seen that whole
//! runs give them the right conditions, and read their answers as what they predict.

use std::ops::ControlFlow;

use candle_core::{DType, Device, Tensor};
use easel_diffusion::schedule::{SigmaOptions, sigmas};
use easel_diffusion::text::{Conditioning, EncodeOptions};
use easel_diffusion::unet::{UnetInput, added_embedding, guidance_embedding};
use easel_diffusion::{
    LoadOptions, Observer, Pipeline, PredictionType, Progress, Request, Sampler, Schedule, Stage,
    Surroundings,
};

use crate::families_model::{file, model};
use crate::golden::{Tensors, values};
use crate::parity;

const STEPS: u32 = 4;
const GUIDANCE: f32 = 5.0;
/// Of the largest value: the same sums, in another order.
const TOLERANCE: f64 = 1e-4;

fn load(tensors: &Tensors) -> Pipeline {
    Pipeline::load(file(tensors, DType::F32).path(), &LoadOptions::default()).unwrap()
}

fn mark(all: &mut Tensors, name: &str) {
    all.insert(name.into(), Tensor::zeros(0, DType::F32, &Device::Cpu).unwrap());
}

fn request() -> Request {
    Request {
        prompt: "a red circle".into(),
        width: 64,
        height: 96,
        steps: STEPS,
        guidance_scale: GUIDANCE,
        sampler: Sampler::parse("Euler").unwrap().0,
        seed: 3,
        ..Default::default()
    }
}

/// Prompt and negative prompt; micro-conditions of both, where the family has some.
struct Spelled<'a> {
    model: &'a Pipeline,
    texts: [Conditioning; 2],
    ids: Option<[Vec<f32>; 2]>,
}

impl<'a> Spelled<'a> {
    fn new(model: &'a Pipeline, zeros: bool, ids: Option<[Vec<f32>; 2]>) -> Self {
        let encode = |text: &str| model.text_encoder().encode(text, &EncodeOptions::default()).unwrap();
        let negative = if zeros { model.text_encoder().zeros().unwrap() } else { encode("") };
        Self { model, texts: [encode("a red circle"), negative], ids }
    }

    fn predict(&self, x: &Tensor, sigma: f32, which: usize) -> Tensor {
        let c_in = 1.0 / f64::from(sigma).mul_add(f64::from(sigma), 1.0).sqrt();
        let t = Tensor::full(self.model.noise_table().timestep_of(sigma), 1, &Device::Cpu).unwrap();
        let added = self.ids.as_ref().map(|ids| {
            let ids = Tensor::new(ids[which].as_slice(), &Device::Cpu).unwrap().unsqueeze(0).unwrap();
            added_embedding(self.texts[which].pooled.as_ref().unwrap(), &ids).unwrap()
        });
        let guidance =
            self.model.unet().config().guidance.map(|width| guidance_embedding(&[GUIDANCE], width).unwrap());
        let x = (x * c_in).unwrap();
        let input = UnetInput {
            added: added.as_ref(),
            guidance: guidance.as_ref(),
            ..UnetInput::new(&x, &t, &self.texts[which].context)
        };
        self.model.unet().forward(&input).unwrap()
    }

    /// The guided clean latent.
    fn clean(&self, x: &Tensor, sigma: f32) -> Tensor {
        let cond = self.predict(x, sigma, 0);
        let guided = if self.model.unet().config().guidance.is_some() {
            cond
        } else {
            let uncond = self.predict(x, sigma, 1);
            (&uncond + ((cond - &uncond).unwrap() * f64::from(GUIDANCE)).unwrap()).unwrap()
        };
        let s = f64::from(sigma);
        match self.model.prediction_type() {
            PredictionType::Epsilon => (x - (guided * s).unwrap()).unwrap(),
            PredictionType::VPrediction => {
                let power = s * s + 1.0;
                ((x / power).unwrap() - (guided * (s / power.sqrt())).unwrap()).unwrap()
            }
        }
    }
}

/// Euler's method; `at` says which model sees a noise level.
fn run<'a>(base: &Pipeline, at: impl Fn(f32) -> &'a Spelled<'a>) -> Tensor {
    let options = SigmaOptions::default();
    let levels = sigmas(Schedule::Uniform, base.noise_table(), STEPS as usize, &options);
    let noise = easel_diffusion::random::LatentNoise::new(&[3], (4, 12, 8)).draw().unwrap();
    let mut x = (noise * f64::from(levels[0])).unwrap();
    for pair in levels.windows(2) {
        let slope = ((&x - at(pair[0]).clean(&x, pair[0])).unwrap() / f64::from(pair[0])).unwrap();
        x = (x + (slope * f64::from(pair[1] - pair[0])).unwrap()).unwrap();
    }
    x
}

fn compare(name: &str, got: &Tensor, want: &Tensor) {
    let (got, want) = (values(got), values(want));
    let largest = want.iter().fold(0.0_f32, |m, v| m.max(v.abs()));
    let off = got.iter().zip(&want).map(|(a, b)| (a - b).abs()).fold(0.0_f32, f32::max) / largest;
    println!("{name}: {off:e} of the largest value, {largest}");
    assert!(largest.is_finite() && f64::from(off) <= TOLERANCE, "{name}: {off:e}");
    let origin = "of the largest latent; the same run spelled out with networks held to diffusers";
    parity::record("Modes", &format!("{name}: whole run"), f64::from(off), TOLERANCE, origin);
}

fn denoised(model: &Pipeline) -> Tensor {
    model.denoise(&request(), &mut |_| ControlFlow::Continue(())).unwrap()
}

#[test]
fn whole_runs_of_every_family_ask_and_read_what_they_should() {
    let base_ids = || Some([vec![96.0, 64.0, 0.0, 0.0, 96.0, 64.0], vec![96.0, 64.0, 0.0, 0.0, 96.0, 64.0]]);
    let refiner_ids = Some([vec![96.0, 64.0, 0.0, 0.0, 6.0], vec![96.0, 64.0, 0.0, 0.0, 2.5]]);
    let plain = model("sdxl").single_file();
    let mut marked = plain.clone();
    mark(&mut marked, "v_pred");
    mark(&mut marked, "ztsnr");
    let mut v = model("sd2").single_file();
    mark(&mut v, "v_pred");
    let cases = [
        ("SD 2.x, v-prediction", v, false, None),
        ("LCM with its guidance as a vector", model("sd1-lcm").single_file(), false, None),
        ("SDXL", plain, true, base_ids()),
        ("SDXL, v-prediction, zero terminal SNR", marked, true, base_ids()),
        ("SDXL refiner", model("sdxl-refiner").single_file(), true, refiner_ids),
    ];
    for (name, tensors, zeros, ids) in cases {
        let model = load(&tensors);
        let spelled = Spelled::new(&model, zeros, ids);
        compare(name, &denoised(&model), &run(&model, |_| &spelled));
    }
}

/// Keeps the first pixels that are seen as a preview.
#[derive(Default)]
struct Previews(Vec<(u32, u32)>);

impl Observer for Previews {
    fn progress(&mut self, progress: Progress) -> ControlFlow<()> {
        if progress.stage == Stage::Decode { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    }

    fn wants_preview(&mut self, _: Progress) -> bool {
        true
    }

    fn preview(&mut self, pictures: Vec<image::RgbImage>) {
        self.0.extend(pictures.iter().map(image::RgbImage::dimensions));
    }
}

#[test]
fn a_tiny_autoencoder_draws_previews_of_full_size() {
    let taesd = vec![crate::golden::path("families/taesd_decoder.pth")];
    let options = LoadOptions { taesd, ..Default::default() };
    let model = Pipeline::load(&crate::golden::path("tiny-sd1.safetensors"), &options).unwrap();
    let mut previews = Previews::default();
    let error = model.generate_with(Surroundings::default(), &request(), &mut previews).unwrap_err();
    assert_eq!(error.reason(), "Cancelled");
    assert_eq!(previews.0, [(64, 96); STEPS as usize]);
}
