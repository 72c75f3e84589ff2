//! torch's random numbers, to the last bit.

use easel_diffusion::random::TorchRng;

use crate::golden::{tensors, values};

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
