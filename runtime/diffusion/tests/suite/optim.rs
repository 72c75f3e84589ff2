//! Optimisers, learning rates and averages against torch, transformers and diffusers.

use candle_core::{DType, Tensor};
use easel_diffusion::train::optim::{
    Adafactor, AdamW, Algorithm, Decay, EmaOptions, LearningRate, Optimizer, Sgd, clip_factor, global_norm,
};

use crate::golden::{Tensors, path, tensors, values};
use crate::parity::record;

const GOLDEN: &str = "optim/optim.safetensors";
const STEPS: u64 = 25;

fn numbers(x: &Tensor) -> Vec<f64> {
    x.to_dtype(DType::F64).unwrap().flatten_all().unwrap().to_vec1().unwrap()
}

/// The largest difference of torch between f32 and f64.
fn spread(name: &str) -> f64 {
    let text = std::fs::read_to_string(path("optim/spread.json")).unwrap();
    serde_json::from_str::<serde_json::Value>(&text).unwrap()[name].as_f64().unwrap()
}

/// The trajectory's end, and the norm of the gradients before each step.
fn run(golden: &Tensors, algorithm: Algorithm, rate: f64, clip: Option<f64>) -> (Vec<f32>, Vec<f64>) {
    let part = |name: &str| (0..3).map(|i| values(&golden[&format!("{name}.{i}")])).collect::<Vec<_>>();
    let (mut vars, curves, targets) = (part("start"), part("curve"), part("target"));
    let shapes: Vec<Vec<usize>> = (0..3).map(|i| golden[&format!("start.{i}")].dims().to_vec()).collect();
    let mut optimizer = Optimizer::new(algorithm, shapes.iter().map(Vec::as_slice));
    let mut norms = Vec::new();
    for step in 1..=STEPS {
        let mut gradients: Vec<Vec<f32>> = Vec::new();
        for ((p, c), t) in vars.iter().zip(&curves).zip(&targets) {
            gradients.push((0..p.len()).map(|i| c[i] * (p[i] - t[i]) + p[i].sin()).collect());
        }
        let norm = global_norm(gradients.iter().map(Vec::as_slice));
        norms.push(norm);
        let factor = clip.map_or(1.0, |limit| clip_factor(norm, limit));
        for (i, (p, g)) in vars.iter_mut().zip(&mut gradients).enumerate() {
            g.iter_mut().for_each(|g| *g *= factor);
            optimizer.update(i, step, rate, p, g);
        }
    }
    (vars.concat(), norms)
}

fn largest_difference(got: &[f32], want: &[f32]) -> f64 {
    assert_eq!(got.len(), want.len());
    got.iter().zip(want).map(|(a, b)| f64::from((a - b).abs())).fold(0.0, f64::max)
}

#[test]
fn trajectories_are_torchs() {
    let golden = tensors(GOLDEN);
    let adam = |beta1, beta2, epsilon, weight_decay| AdamW { beta1, beta2, epsilon, weight_decay };
    let decayed = Adafactor { weight_decay: 0.1, ..Adafactor::default() };
    let cases = [
        ("adamw", Algorithm::default(), 0.03, None),
        ("adamw.settings", Algorithm::AdamW(adam(0.8, 0.95, 1e-4, 0.2)), 0.01, None),
        ("adafactor", Algorithm::Adafactor(Adafactor::default()), 0.02, None),
        ("adafactor.decay", Algorithm::Adafactor(decayed), 0.02, None),
        ("sgd", Algorithm::Sgd(Sgd::default()), 0.05, None),
        ("sgd.settings", Algorithm::Sgd(Sgd { momentum: 0.9, weight_decay: 0.05 }), 0.02, None),
        ("clipped", Algorithm::Sgd(Sgd::default()), 0.05, Some(1.5)),
    ];
    for (name, algorithm, rate, clip) in cases {
        let (got, norms) = run(&golden, algorithm, rate, clip);
        // Three times the reference's own rounding: both sides round, in their own order of operations.
        let tolerance = 3.0 * spread(name);
        let difference = largest_difference(&got, &values(&golden[name]));
        assert!(difference <= tolerance, "{name}: {difference} over {tolerance}");
        record("Training", &format!("optimiser: {name}"), difference, tolerance, "3 x f32 to f64 of torch");
        if clip.is_some() {
            for (a, b) in norms.iter().zip(numbers(&golden["clipped.norms"])) {
                assert!((a - b).abs() <= 1e-5 * b, "{a} is not {b}");
            }
        }
    }
}

#[test]
fn learning_rates_are_those_of_diffusers() {
    let golden = tensors(GOLDEN);
    let mut largest = 0.0_f64;
    let names =
        ["constant", "constant_with_warmup", "linear", "cosine", "cosine_with_restarts", "polynomial"];
    for name in names {
        for warmup in [0, 7] {
            let decay = match name.parse().unwrap() {
                Decay::CosineWithRestarts { .. } => Decay::CosineWithRestarts { cycles: 3.0 },
                Decay::Polynomial { end, .. } => Decay::Polynomial { power: 2.0, end },
                other => other,
            };
            let warmup_here = if name == "constant" { 0 } else { warmup };
            let rate = LearningRate { decay, warmup: warmup_here, total: 40 };
            let want = numbers(&golden[&format!("rate.{name}.{warmup}")]);
            // Past the end diffusers' cosine rises again; a run ends there.
            let length = if name == "cosine" { 41 } else { want.len() };
            for (done, want) in want[..length].iter().enumerate() {
                let got = rate.at(done as u64, 0.02);
                largest = largest.max((got - want).abs());
                assert!(
                    (got - want).abs() <= 1e-15,
                    "{name}, warm-up {warmup}, step {done}: {got} is not {want}"
                );
            }
        }
    }
    record("Training", "learning-rate schedules", largest, 1e-15, "f64 on both sides");
}

#[test]
fn averages_follow_as_in_diffusers() {
    let golden = tensors(GOLDEN);
    let plain = EmaOptions::default();
    let cases = [
        ("plain", plain),
        ("capped", EmaOptions { decay: 0.6, min_decay: 0.2, ..plain }),
        ("late", EmaOptions { update_after_step: 5, ..plain }),
        ("warmup", EmaOptions { warmup: Some((2.0, 0.75)), ..plain }),
    ];
    for (name, options) in cases {
        let mut param: Vec<f32> = (0..9).map(|i| -1.0 + i as f32 * 0.25).collect();
        let mut average = param.clone();
        let decays = numbers(&golden[&format!("ema.{name}.decays")]);
        for step in 1..=20_u64 {
            for (i, p) in param.iter_mut().enumerate() {
                *p += (i as f32 + step as f32).sin();
            }
            options.update(step, &mut average, &param);
            let want = decays[step as usize - 1];
            assert!((options.decay_at(step) - want).abs() < 1e-15, "{name}, step {step}");
        }
        let difference = largest_difference(&average, &values(&golden[&format!("ema.{name}")]));
        assert!(difference <= 2e-6, "{name}: {difference}");
        record("Training", &format!("average: {name}"), difference, 2e-6, "20 steps of f32 rounding at 4");
    }
}
