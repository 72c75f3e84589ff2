//! Noise levels and timesteps.

use easel_diffusion::Schedule;
use easel_diffusion::schedule::{AlignedModel, NoiseTable, SigmaOptions, sigmas};

use crate::golden::{tensors, values};
use crate::parity;

/// Two roundings of f32, since logarithms and powers of two libraries differ in the last place.
const RTOL: f32 = 3e-7;

#[track_caller]
fn assert_relative(name: &str, got: &[f32], want: &[f32], rtol: f32) -> f64 {
    assert_eq!(got.len(), want.len(), "{name}");
    let mut worst = 0.0_f64;
    for (i, (a, b)) in got.iter().zip(want).enumerate() {
        assert!((a - b).abs() <= rtol * b.abs(), "{name}[{i}]: {a} is not {b}");
        if *b != 0.0 {
            worst = worst.max(f64::from((a - b).abs() / b.abs()));
        }
    }
    worst
}

#[test]
fn the_training_table_is_that_of_sd1() {
    let golden = tensors("schedule.safetensors");
    let table = NoiseTable::sd1();
    assert_relative("alphas", table.alphas_cumprod(), &values(&golden["alphas_cumprod"]), RTOL);
    let got: Vec<f32> = (0..1000).map(|t| table.sigma_at(t as f32)).collect();
    // Through the logarithm and back.
    assert_relative("sigmas", &got, &values(&golden["sigmas"]), 1e-6);
}

#[test]
fn other_training_tables_are_the_references() {
    let golden = tensors("samplers/schedules.safetensors");
    let cases = [
        ("linear", NoiseTable::linear(0.00085, 0.012, 1000), RTOL),
        // The last of its signal is a cosine near zero, where its rounding counts a thousandfold.
        ("squared_cosine", NoiseTable::squared_cosine(1000), 1e-6),
        ("zsnr", NoiseTable::sd1().zero_terminal_snr(), 1e-5),
    ];
    for (name, table, rtol) in cases {
        assert_relative(name, table.alphas_cumprod(), &values(&golden[&format!("alphas.{name}")]), rtol);
    }
}

/// Name in the golden file, schedule and its settings.
fn schedules() -> Vec<(&'static str, Schedule, SigmaOptions)> {
    let plain = SigmaOptions::default();
    let sdxl = SigmaOptions { aligned: AlignedModel::Sdxl, ..plain };
    vec![
        ("uniform", Schedule::Uniform, plain),
        ("karras", Schedule::Karras, plain),
        ("exponential", Schedule::Exponential, plain),
        ("polyexponential", Schedule::Polyexponential, plain),
        ("kl_optimal", Schedule::KlOptimal, plain),
        ("sgm_uniform", Schedule::SgmUniform, plain),
        ("simple", Schedule::Simple, plain),
        ("ddim", Schedule::Ddim, plain),
        ("beta", Schedule::Beta, plain),
        ("align_your_steps", Schedule::AlignYourSteps, plain),
        ("align_your_steps.sdxl", Schedule::AlignYourSteps, sdxl),
    ]
}

#[test]
fn every_schedule_is_the_references() {
    let golden = tensors("samplers/schedules.safetensors");
    // Karras raises to the seventh power, exponentials turn absolute errors into relative ones, the
    // tangent of the largest level multiplies its rounding by that level.
    let tables = [("sd1", NoiseTable::sd1(), 3e-6), ("zsnr", NoiseTable::sd1().zero_terminal_snr(), 1e-3)];
    let known = schedules();
    let named = |s: Schedule| s == Schedule::Automatic || known.iter().any(|(_, schedule, _)| *schedule == s);
    assert!(Schedule::all().all(named), "every schedule is compared");
    for (key, table, rtol) in &tables {
        for (name, schedule, options) in &known {
            let mut worst = 0.0_f64;
            for steps in [1, 2, 3, 7, 10, 11, 20, 30, 50, 150] {
                let key = format!("{key}.{name}.{steps}");
                let got = sigmas(*schedule, table, steps, options);
                worst = worst.max(assert_relative(&key, &got, &values(&golden[&key]), *rtol));
            }
            let feature = format!("{name}, {key}, relative");
            parity::record("Schedules", &feature, worst, f64::from(*rtol), "roundings of f32 in powers");
        }
    }
}

#[test]
fn settings_of_schedules_are_the_references() {
    let golden = tensors("samplers/schedules.safetensors");
    let old = SigmaOptions { sigma_min: Some(0.1), sigma_max: Some(10.0), ..Default::default() };
    let rho = |rho| SigmaOptions { rho: Some(rho), ..Default::default() };
    let cases = [
        ("old.karras", Schedule::Karras, old),
        ("rho.karras", Schedule::Karras, rho(3.0)),
        ("rho.polyexponential", Schedule::Polyexponential, rho(2.0)),
    ];
    for (name, schedule, options) in cases {
        for steps in [1, 2, 3, 7, 10, 11, 20, 30, 50, 150] {
            let key = format!("{name}.{steps}");
            let got = sigmas(schedule, &NoiseTable::sd1(), steps, &options);
            assert_relative(&key, &got, &values(&golden[&key]), 3e-6);
        }
    }
}

#[test]
fn timesteps_of_any_sigma_are_the_references() {
    let golden = tensors("schedule.safetensors");
    let table = NoiseTable::sd1();
    let probes = values(&golden["probe"]);
    for (sigma, want) in probes.iter().zip(values(&golden["probe.t"])) {
        let got = table.timestep_of(*sigma);
        // A step of the table is some 3e-3 of the logarithm, whose rounding is 1e-7.
        assert!((got - want).abs() < 2e-4, "{sigma}: {got} {want}");
    }
}
