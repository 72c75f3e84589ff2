//! Noise levels and timesteps.

use easel_diffusion::Schedule;
use easel_diffusion::schedule::{NoiseTable, sigmas};

use crate::golden::{tensors, values};

/// Two roundings of f32, since logarithms and powers of two libraries differ in the last place.
const RTOL: f32 = 3e-7;

#[track_caller]
fn assert_relative(name: &str, got: &[f32], want: &[f32], rtol: f32) {
    assert_eq!(got.len(), want.len(), "{name}");
    for (i, (a, b)) in got.iter().zip(want).enumerate() {
        assert!((a - b).abs() <= rtol * b.abs(), "{name}[{i}]: {a} is not {b}");
    }
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
fn every_schedule_is_the_references() {
    let golden = tensors("schedule.safetensors");
    let table = NoiseTable::sd1();
    for (schedule, name) in
        [(Schedule::Uniform, "uniform"), (Schedule::Karras, "karras"), (Schedule::Exponential, "exponential")]
    {
        for steps in [1, 2, 7, 20, 50, 150] {
            let key = format!("{name}.{steps}");
            // Karras raises to the seventh power, exponentials turn absolute errors into relative ones.
            assert_relative(&key, &sigmas(schedule, &table, steps), &values(&golden[&key]), 2e-6);
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
