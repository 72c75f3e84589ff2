//! Every question that every sampler asks of a model in closed form, and its last latent.

use std::fs;

use candle_core::Tensor;
use easel_diffusion::samplers::{Options, Plan, Start, Steps, World};
use easel_diffusion::schedule::NoiseTable;
use easel_diffusion::{Sampler, Schedule};
use serde_json::Value;

use crate::golden::{path, tensors, values};
use crate::mixture::Mixture;
use crate::parity;

/// Times the difference between the reference in f32 and in f64 (`golden/samplers/spread.json`): both
/// sides round, in different orders.
const TIMES: f64 = 3.0;
/// Forty units in the last place, relative to the size: below this the reference's two precisions agree
/// by luck.
const FLOOR: f64 = 5e-6;
const SEEDS: [u64; 2] = [11, 12];

/// A run as `golden/samplers/runs.json` describes it.
struct Run {
    name: String,
    sampler: Sampler,
    plan: Plan<'static>,
}

fn table() -> &'static NoiseTable {
    static TABLE: std::sync::OnceLock<NoiseTable> = std::sync::OnceLock::new();
    TABLE.get_or_init(NoiseTable::sd1)
}

fn json(name: &str) -> Value {
    serde_json::from_str(&fs::read_to_string(path(name)).unwrap()).unwrap()
}

fn runs() -> Vec<Run> {
    let all = json("samplers/runs.json");
    all.as_array().unwrap().iter().map(run).collect()
}

fn run(said: &Value) -> Run {
    let text = |key: &str| said[key].as_str().unwrap();
    let number = |key: &str| said[key].as_f64().map(|v| v as f32);
    let options = Options {
        eta: number("eta"),
        s_churn: number("s_churn").unwrap(),
        s_tmin: number("s_tmin").unwrap(),
        s_tmax: number("s_tmax").unwrap_or(f32::INFINITY),
        s_noise: number("s_noise").unwrap(),
        discard_penultimate: said["discard"].as_bool().unwrap(),
        ..Options::default()
    };
    let start = said["start"].as_array().map(|pair| {
        let [steps, t_enc] = [0, 1].map(|i| pair[i].as_u64().unwrap() as usize);
        Start { steps, t_enc }
    });
    let sampler = Sampler::parse(text("sampler")).unwrap().0;
    let steps = said["steps"].as_u64().unwrap() as usize;
    // A run that names what is automatic is asked for as automatic: both are to be the same.
    let schedule = Schedule::parse(text("schedule")).unwrap();
    let schedule = if sampler.entry().automatic == schedule { Schedule::Automatic } else { schedule };
    let plan = Plan { table: table(), steps, schedule, options, start };
    Run { name: text("name").to_owned(), sampler, plan }
}

/// Takes all steps; what was asked, and the last latent.
fn walk(steps: &mut dyn Steps, world: &mut Mixture, init: Option<&Tensor>) -> Tensor {
    let noise = world.noise().unwrap();
    let mut x = steps.noised(init, &noise).unwrap();
    let mut index = 0;
    while !steps.is_done(index) {
        x = steps.step(index, &x, world).unwrap();
        index += 1;
    }
    assert!(steps.len() >= index);
    x
}

/// The largest difference of each latent, relative to its size where that is above one.
fn compare(name: &str, got: &[Tensor], want: &Tensor, allowed: f64) -> f64 {
    assert_eq!(got.len(), want.dim(0).unwrap(), "{name}: questions to the model and a last latent");
    let mut worst = 0.0_f64;
    for (i, got) in got.iter().enumerate() {
        let (got, want) = (values(got), values(&want.get(i).unwrap()));
        assert_eq!(got.len(), want.len(), "{name}");
        let size = want.iter().fold(1.0_f64, |m, v| m.max(f64::from(v.abs())));
        for (a, b) in got.iter().zip(&want) {
            let off = f64::from((a - b).abs()) / size;
            assert!(
                off <= allowed,
                "{name}, latent {i}: {a} is not {b}; {off:e} of {size}, allowed {allowed:e}"
            );
            worst = worst.max(off);
        }
    }
    println!("{name}: {worst:e}, allowed {allowed:e}");
    worst
}

#[test]
fn every_question_and_answer_is_the_references() {
    let golden = tensors("samplers/trajectories.safetensors");
    let spread = json("samplers/spread.json");
    let all = runs();
    for run in &all {
        let batches: Vec<(String, Vec<usize>)> = if run.sampler.entry().alone {
            (0..SEEDS.len()).map(|i| (format!("{}, picture {i}", run.name), vec![i])).collect()
        } else {
            vec![(run.name.clone(), vec![0, 1])]
        };
        for (name, pictures) in batches {
            let mut steps = run.sampler.start(&run.plan);
            let seeds: Vec<u64> = pictures.iter().map(|i| SEEDS[*i]).collect();
            let mut world = Mixture::new(&seeds, steps.noise_range());
            let init = golden["init"].narrow(0, pictures[0], pictures.len()).unwrap();
            let last = walk(steps.as_mut(), &mut world, run.plan.start.is_some().then_some(&init));
            let levels: Vec<f32> = world.asked.iter().map(|a| a.1).collect();
            let mut latents: Vec<Tensor> = world.asked.into_iter().map(|a| a.0).collect();
            latents.push(last);
            let bound = |key: &str| FLOOR.max(TIMES * spread[key].as_f64().unwrap());
            let allowed = bound(&name);
            let worst = compare(&name, &latents, &golden[&format!("{name}.x")], allowed);
            let of_levels = bound(&format!("{name}, levels"));
            for (got, want) in levels.iter().zip(values(&golden[&format!("{name}.levels")])) {
                let off = f64::from((got - want).abs() / want.max(0.01));
                assert!(off <= of_levels, "{name}: asked at {got}, not {want}; allowed {of_levels:e}");
            }
            let origin =
                "relative to the latents' size; 3x the reference's own f32-f64 spread, at least 5e-6";
            parity::record("Samplers in closed form", &name, worst, allowed, origin);
        }
    }
    let missing = Sampler::all().find(|s| !all.iter().any(|run| run.sampler == *s));
    assert_eq!(missing, None, "every sampler has a run");
}

/// A model that has seen one picture only: every sampler must end there.
struct OnePicture {
    picture: Tensor,
    table: &'static NoiseTable,
    inner: Mixture,
}

impl World for OnePicture {
    fn denoised(&mut self, x: &Tensor, _: f32) -> candle_core::Result<Tensor> {
        self.picture.broadcast_as(x.shape())
    }

    fn epsilon(&mut self, x: &Tensor, timestep: f32) -> candle_core::Result<Tensor> {
        let sigma = f64::from(self.table.sigma_at(timestep));
        let whole = (x * (1.0 + sigma * sigma).sqrt())?;
        whole.broadcast_sub(&self.picture)? / sigma
    }

    fn noise(&mut self) -> candle_core::Result<Tensor> {
        self.inner.noise()
    }

    fn brownian(&mut self, sigma: f32, next: f32) -> candle_core::Result<Tensor> {
        self.inner.brownian(sigma, next)
    }
}

#[test]
fn every_sampler_finds_the_only_picture() {
    let picture = Tensor::arange(-32.0_f32, 32.0, &candle_core::Device::Cpu).unwrap();
    let picture = (picture / 20.0).unwrap().reshape((1, 4, 4, 4)).unwrap();
    for sampler in Sampler::all() {
        for start in [None, Some(Start::by_share(20, 0.6))] {
            let plan = Plan { start, ..Plan::new(table(), 20, Schedule::Automatic) };
            let mut steps = sampler.start(&plan);
            let inner = Mixture::new(&[5], steps.noise_range());
            let mut world = OnePicture { picture: picture.clone(), table: table(), inner };
            let noise = world.noise().unwrap();
            let mut x = steps.noised(start.map(|_| &picture), &noise).unwrap();
            let mut index = 0;
            while !steps.is_done(index) {
                x = steps.step(index, &x, &mut world).unwrap();
                index += 1;
            }
            let worst =
                values(&x).iter().zip(values(&picture)).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
            // Those that end at the smallest level of training, not at zero, keep its noise.
            let left = if sampler.entry().uses_schedule { 0.15 } else { 0.2 };
            assert!(worst < left, "{sampler}, start {start:?}: {worst}");
        }
    }
}

#[test]
fn a_picture_has_the_same_trajectory_alone_and_in_company() {
    for sampler in Sampler::all().filter(|s| !s.entry().alone) {
        let options = Options { s_churn: 4.0, eta: Some(0.7), ..Options::default() };
        let plan = Plan { options, ..Plan::new(table(), 6, Schedule::Automatic) };
        let last = |seeds: &[u64]| {
            let mut steps = sampler.start(&plan);
            let mut world = Mixture::new(seeds, steps.noise_range());
            walk(steps.as_mut(), &mut world, None)
        };
        let together = last(&[3, 4, 5]);
        for (i, seed) in [3, 4, 5].into_iter().enumerate() {
            assert_eq!(values(&together.get(i).unwrap()), values(&last(&[seed])), "{sampler}, picture {i}");
        }
    }
}
