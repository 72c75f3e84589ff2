//! Samplers on the tiny model with guidance: every latent of some runs, the pictures of all.

use candle_core::{Device, Result, Tensor};
use easel_diffusion::random::LatentNoise;
use easel_diffusion::samplers::{Options, Plan, World};
use easel_diffusion::schedule::NoiseTable;
use easel_diffusion::text::EncodeOptions;
use easel_diffusion::unet::UnetInput;
use easel_diffusion::{Request, Sampler, Schedule};
use image::RgbImage;
use std::ops::ControlFlow;

use crate::golden::{assert_close, has_fresh_noise, model, path, tensors, values};
use crate::parity::{self, Row};

/// Two and a half times the largest difference of any run between the reference in f32 and in f64
/// (`golden/spread.json`), for latents of standard deviation 14 to 22 and a guidance of five, which
/// multiplies rounding. Measured on AVX-512: at most 2.7e-4.
const LATENT: f32 = 2.5 * 2.26e-4;

const STEPS: u32 = 8;

/// Run in the golden file, sampler, schedule, eta.
const RUNS: &[(&str, &str, Schedule, Option<f32>)] = &[
    ("euler", "Euler", Schedule::Automatic, None),
    ("euler_karras", "Euler", Schedule::Karras, None),
    ("euler_a", "Euler a", Schedule::Automatic, None),
    ("euler_a_half", "Euler a", Schedule::Uniform, Some(0.5)),
    ("dpmpp_2m_karras", "DPM++ 2M", Schedule::Automatic, None),
    ("dpmpp_2m_uniform", "DPM++ 2M", Schedule::Uniform, None),
    ("ddim", "DDIM", Schedule::Automatic, None),
    ("ddim_half", "DDIM", Schedule::Automatic, Some(0.5)),
];

fn request(sampler: &str, schedule: Schedule, eta: Option<f32>) -> Request {
    Request {
        prompt: "a (red:1.3) circle on a [blue] background".into(),
        negative_prompt: "green".into(),
        width: 64,
        height: 64,
        steps: STEPS,
        guidance_scale: 5.0,
        sampler: Sampler::parse(sampler).unwrap().0,
        schedule,
        seed: 11,
        batch_size: 2,
        eta,
        ..Default::default()
    }
}

/// The guided model spelled out, so that each latent can be looked at.
struct Guided {
    cond: Tensor,
    uncond: Tensor,
    noise: LatentNoise,
}

impl World for Guided {
    fn denoised(&mut self, x: &Tensor, sigma: f32) -> Result<Tensor> {
        let c_in = 1.0 / sigma.mul_add(sigma, 1.0).sqrt();
        let epsilon = self.epsilon(&(x * f64::from(c_in))?, model().noise_table().timestep_of(sigma))?;
        x - (epsilon * f64::from(sigma))?
    }

    fn epsilon(&mut self, x: &Tensor, timestep: f32) -> Result<Tensor> {
        let t = Tensor::full(timestep, x.dim(0)?, &Device::Cpu)?;
        let cond = model().unet().forward(&UnetInput::new(x, &t, &self.cond))?;
        let uncond = model().unet().forward(&UnetInput::new(x, &t, &self.uncond))?;
        &uncond + ((cond - &uncond)? * 5.0)?
    }

    fn noise(&mut self) -> Result<Tensor> {
        self.noise.draw()
    }

    fn brownian(&mut self, _: f32, _: f32) -> Result<Tensor> {
        unreachable!("none of these runs is of a stochastic differential equation")
    }
}

#[test]
fn every_latent_is_the_references() {
    let golden = tensors("samplers.safetensors");
    let table = NoiseTable::sd1();
    for (run, sampler, schedule, eta) in RUNS {
        let request = request(sampler, *schedule, *eta);
        let encode = |prompt: &str| {
            let one = model().text_encoder().encode(prompt, &EncodeOptions::default()).unwrap().context;
            Tensor::cat(&[&one, &one], 0).unwrap()
        };
        let mut world = Guided {
            cond: encode(&request.prompt),
            uncond: encode(&request.negative_prompt),
            noise: LatentNoise::new(&[11, 12], (4, 8, 8)),
        };
        let options = Options { eta: *eta, ..Options::default() };
        let plan = Plan { options, ..Plan::new(&table, STEPS as usize, *schedule) };
        let mut steps = request.sampler.start(&plan);
        let want = &golden[*run];
        assert_eq!(steps.len() + 1, want.dim(0).unwrap(), "{run}");
        let mut x = steps.noised(None, &world.noise().unwrap()).unwrap();
        assert_close(&format!("{run}, initial"), &x, &want.get(0).unwrap(), 4e-6);
        for index in 0..steps.len() {
            x = steps.step(index, &x, &mut world).unwrap();
            assert_close(&format!("{run}, step {index}"), &x, &want.get(index + 1).unwrap(), LATENT);
        }
    }
}

#[test]
fn whole_pictures_are_the_references() {
    let golden = tensors("samplers.safetensors");
    for (run, sampler, schedule, eta) in RUNS {
        let pictures =
            model().generate(&request(sampler, *schedule, *eta), &mut |_| ControlFlow::Continue(())).unwrap();
        let want = golden[&format!("{run}.picture")].to_dtype(candle_core::DType::F32).unwrap();
        for (i, picture) in pictures.iter().enumerate() {
            assert_eq!(picture.seed, 11 + i as u64);
            let want = values(&want.get(i).unwrap().permute((1, 2, 0)).unwrap());
            let off = picture.rgb.as_raw().iter().zip(&want).filter(|(a, b)| **a != **b as u8).count();
            let far = picture.rgb.as_raw().iter().zip(&want).any(|(a, b)| (f32::from(*a) - b).abs() > 1.0);
            // A value on the edge between two levels may fall to either side.
            assert!(
                !far && off * 500 <= want.len(),
                "{run} picture {i}: {off} of {} levels differ",
                want.len()
            );
        }
    }
}

/// A picture of the golden file, `[3, height, width]`.
fn golden_picture(pictures: &Tensor, i: usize) -> RgbImage {
    let picture = pictures.get(i).unwrap().permute((1, 2, 0)).unwrap();
    let (height, width, _) = picture.dims3().unwrap();
    let bytes = picture.flatten_all().unwrap().to_vec1::<u8>().unwrap();
    RgbImage::from_raw(width as u32, height as u32, bytes).unwrap()
}

/// A decoded picture in bytes, as the pipeline rounds it.
fn levels(decoded: &Tensor) -> RgbImage {
    let (_, _, height, width) = decoded.dims4().unwrap();
    let decoded = values(&decoded.get(0).unwrap().permute((1, 2, 0)).unwrap());
    let byte = |v: &f32| ((v / 2.0 + 0.5).clamp(0.0, 1.0) * 255.0).round_ties_even() as u8;
    RgbImage::from_raw(width as u32, height as u32, decoded.iter().map(byte).collect()).unwrap()
}

#[test]
fn every_sampler_draws_the_references_pictures() {
    let golden = tensors("samplers/pictures.safetensors");
    let text = std::fs::read_to_string(path("samplers/spread.json")).unwrap();
    let spread: serde_json::Value = serde_json::from_str(&text).unwrap();
    for sampler in Sampler::all() {
        let name = sampler.name();
        let request = Request { negative_prompt: String::new(), ..request(name, Schedule::Automatic, None) };
        let go = &mut |_| ControlFlow::Continue(());
        let latents = model().denoise(&request, go).unwrap();
        // Three times the reference's own rounding; a tenth of a thousandth of the latents' size at least.
        let of = |key: &str| spread[format!("{name}, {key}")].as_f64().unwrap();
        let allowed = (3.0 * of("tiny")).max(1e-5 * of("tiny, std"));
        let max_abs = assert_close(name, &latents, &golden[name], allowed as f32);
        let fresh = has_fresh_noise(sampler);
        let least = if fresh { 45.0 } else { 50.0 };
        let mut psnr = f64::INFINITY;
        for i in 0..2 {
            let decoded = model().vae().decode(&latents.narrow(0, i, 1).unwrap()).unwrap();
            let want = golden_picture(&golden[&format!("{name}.picture")], i);
            psnr = psnr.min(parity::psnr(&levels(&decoded), &want));
        }
        println!("{name}: {psnr:.1} dB");
        assert!(psnr >= least, "{name}: {psnr:.1} dB, at least {least}");
        parity::write(&Row {
            area: "Samplers on the tiny model",
            feature: name,
            max_abs: Some(max_abs),
            psnr: Some(psnr),
            tolerance: least,
            origin: if fresh {
                "at least, dB; an ancestral or SDE sampler with the same noise"
            } else {
                "at least, dB; a deterministic sampler"
            },
        });
    }
}
