//! torch's random numbers, to the last bit, and what the web UI makes of them.

use easel_diffusion::random::{
    BrownianNoise, LatentNoise, NoiseOptions, NoiseSource, Philox, SeedSequence, TorchRng, Variation,
};

use crate::golden::{assert_close, tensors, values};

#[test]
fn every_stream_is_torchs_bit_for_bit() {
    let golden = tensors("random.safetensors");
    let mut checked = 0;
    for (name, want) in golden.iter().filter(|(name, _)| *name != "stream") {
        let (seed, size) = name.split_once('.').unwrap();
        let got = TorchRng::new(seed.parse().unwrap()).randn(size.parse().unwrap());
        assert_eq!(bits(&got), bits(&values(want)), "seed {seed}, {size} values");
        checked += 1;
    }
    assert_eq!(checked, 48);
}

#[test]
fn a_stream_goes_on_over_calls_of_any_length() {
    let mut rng = TorchRng::new(7);
    let got: Vec<f32> = [3, 256, 5, 20, 1, 16].iter().flat_map(|n| rng.randn(*n)).collect();
    assert_eq!(bits(&got), bits(&values(&tensors("random.safetensors")["stream"])));
}

fn bits(values: &[f32]) -> Vec<u32> {
    values.iter().map(|v| v.to_bits()).collect()
}

#[test]
fn philox_is_the_reference_to_the_last_place() {
    let golden = tensors("samplers/noise.safetensors");
    let mut equal = 0;
    for seed in [0, 1, (1 << 32) + 5, (1 << 63) + 11] {
        let mut rng = Philox::new(seed);
        let want = values(&golden[&format!("philox.{seed}")]);
        let got: Vec<f32> = (0..3).flat_map(|_| rng.randn(70)).collect();
        for (a, b) in got.iter().zip(&want) {
            // Both compute in f64 and round once; where that falls between two numbers either may be taken.
            assert!(a.to_bits().abs_diff(b.to_bits()) <= 1, "seed {seed}: {a} is not {b}");
            equal += usize::from(a == b);
        }
    }
    assert!(equal >= 835, "{equal} of 840 numbers are equal");
}

#[test]
fn seeds_of_a_tree_are_those_of_numpy() {
    let golden = tensors("samplers/noise.safetensors");
    let cases: [(u64, &[u64]); 4] = [(0, &[]), (5, &[0, 0]), (5, &[9, 3]), ((1 << 63) + 1, &[1 << 33, 40])];
    for (entropy, key) in cases {
        let name = std::iter::once(&entropy).chain(key).map(u64::to_string).collect::<Vec<_>>().join(".");
        let want = golden[&format!("seeds.{name}")].to_vec1::<i64>().unwrap();
        let got: Vec<i64> =
            SeedSequence::new(entropy, key, 24).generate_state(6).into_iter().map(i64::from).collect();
        assert_eq!(got, want, "{name}");
    }
}

#[test]
fn brownian_noise_is_torchsdes_bit_for_bit() {
    let golden = tensors("samplers/noise.safetensors");
    let times = golden["brownian.times"].to_vec2::<f32>().unwrap();
    let seeds = [1, 42, (1 << 40) + 7];
    for (name, source, shape) in [("cpu", NoiseSource::Cpu, (4, 4, 4)), ("nv", NoiseSource::Nv, (4, 2, 2))] {
        let mut noise = BrownianNoise::new(&seeds, shape, source, (0.0291675, 14.614642));
        let want = &golden[&format!("brownian.{name}")];
        for (i, pair) in times.iter().enumerate() {
            let got = values(&noise.draw(pair[0], pair[1]).unwrap());
            let want = values(&want.get(i).unwrap());
            let close = |a: &f32, b: &f32| match source {
                NoiseSource::Cpu => a.to_bits() == b.to_bits(),
                // Philox may differ in the last place.
                NoiseSource::Gpu | NoiseSource::Nv => (a - b).abs() <= 1e-6 * b.abs().max(1.0),
            };
            for (a, b) in got.iter().zip(&want) {
                assert!(close(a, b), "{name} {pair:?}: {a} is not {b}");
            }
        }
    }
}

#[test]
fn first_and_later_noise_is_that_of_the_web_ui() {
    let golden = tensors("samplers/noise.safetensors");
    let variation = |seeds: [u64; 2], strength| Some(Variation { seeds: seeds.to_vec(), strength });
    let plain = NoiseOptions::default;
    let nv = || NoiseOptions { source: NoiseSource::Nv, ..plain() };
    let far = (1 << 40) + 3;
    let cases = [
        ("plain", [7, far], plain()),
        ("plain_nv", [7, far], nv()),
        ("ensd", [7, 8], NoiseOptions { step_seed_delta: 31_337, ..plain() }),
        ("variation", [7, 7], NoiseOptions { variation: variation([1, 2], 0.3), ..plain() }),
        (
            "variation_nv",
            [7, 7],
            NoiseOptions { variation: variation([1, 2], 0.75), step_seed_delta: 31_337, ..nv() },
        ),
        ("same", [7, 8], NoiseOptions { variation: variation([7, 8], 0.3), ..plain() }),
        ("smaller", [7, 8], NoiseOptions { resize_from: Some((3, 2)), ..plain() }),
        ("larger", [7, 8], NoiseOptions { resize_from: Some((9, 8)), ..nv() }),
        (
            "mixed",
            [7, 8],
            NoiseOptions {
                variation: variation([4, 5], 0.5),
                resize_from: Some((3, 8)),
                step_seed_delta: 5,
                ..plain()
            },
        ),
    ];
    for (name, seeds, options) in cases {
        let want = &golden[&format!("image.{name}")];
        // An angle between noises is the arc cosine of a sum in f32.
        let allowed =
            if options.variation.is_some() || options.source == NoiseSource::Nv { 2e-6 } else { 0.0 };
        let mut noise = LatentNoise::with_options(&seeds, (4, 6, 5), options);
        for draw in 0..3 {
            let got = noise.draw().unwrap();
            assert_close(&format!("{name}, draw {draw}"), &got, &want.get(draw).unwrap(), allowed);
        }
    }
}
