//! `torch.randn(n, device="cuda")`: the counter-based generator Philox 4x32-10.
//!
//! Facts: Salmon et al. 2011 and the Random123 test vectors; cuRAND's `curand_normal4` for how integers
//! become normal numbers. Torch gives each value of a call its own subsequence and each call its own
//! offset, and takes the first of four numbers. A1111's `rng_philox.py` does the same in f64, rounded at
//! the end; its numbers are the ones here, a GPU's f32 differs in the last place.

const MULTIPLIERS: [u64; 2] = [0xd251_1f53, 0xcd9e_8d57];
const WEYL: [u32; 2] = [0x9e37_79b9, 0xbb67_ae85];
const ROUNDS: usize = 10;

/// A generator in the state that torch's on a GPU would have after the same calls.
#[derive(Debug, Clone)]
pub struct Philox {
    key: [u32; 2],
    /// Calls so far.
    offset: u32,
}

impl Philox {
    /// As `torch.Generator("cuda").manual_seed(seed)`.
    pub fn new(seed: u64) -> Self {
        Self { key: [seed as u32, (seed >> 32) as u32], offset: 0 }
    }

    /// As `torch.randn(n, generator=…, device="cuda")`.
    pub fn randn(&mut self, n: usize) -> Vec<f32> {
        let offset = self.offset;
        self.offset = offset.wrapping_add(1);
        (0..n)
            .map(|i| {
                let [x, y, ..] = block([offset, 0, i as u32, 0], self.key);
                normal(x, y)
            })
            .collect()
    }
}

/// Ten rounds on one counter.
fn block(mut counter: [u32; 4], mut key: [u32; 2]) -> [u32; 4] {
    for round in 0..ROUNDS {
        if round > 0 {
            key = [key[0].wrapping_add(WEYL[0]), key[1].wrapping_add(WEYL[1])];
        }
        let a = u64::from(counter[0]) * MULTIPLIERS[0];
        let b = u64::from(counter[2]) * MULTIPLIERS[1];
        counter = [
            (b >> 32) as u32 ^ counter[1] ^ key[0],
            b as u32,
            (a >> 32) as u32 ^ counter[3] ^ key[1],
            a as u32,
        ];
    }
    counter
}

/// Box and Muller's sine half; the constants are f32 numbers, as cuRAND has them.
fn normal(x: u32, y: u32) -> f32 {
    let scale = f64::from(2.328_306_4e-10_f32);
    let turn = f64::from((2.328_306_4e-10_f64 * 6.283_185_5) as f32);
    let u = f64::from(x) * scale + scale / 2.0;
    let v = f64::from(y) * turn + turn / 2.0;
    ((-2.0 * u.ln()).sqrt() * v.sin()) as f32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_vectors_of_random123_come_out() {
        const FULL: u32 = u32::MAX;
        let pi = [0x243f_6a88, 0x85a3_08d3, 0x1319_8a2e, 0x0370_7344];
        let cases = [
            ([0; 4], [0; 2], [0x6627_e8d5, 0xe169_c58d, 0xbc57_ac4c, 0x9b00_dbd8]),
            ([FULL; 4], [FULL; 2], [0x408f_276d, 0x41c8_3b0e, 0xa20b_c7c6, 0x6d54_51fd]),
            (pi, [0xa409_3822, 0x299f_31d0], [0xd16c_fe09, 0x94fd_cceb, 0x5001_e420, 0x2412_6ea1]),
        ];
        for (counter, key, want) in cases {
            assert_eq!(block(counter, key), want);
        }
    }

    #[test]
    fn seed_zero_gives_what_every_gpu_gives() {
        // `torch.manual_seed(0); torch.randn(4, device="cuda")`, as torch prints it.
        let got = Philox::new(0).randn(4);
        for (got, want) in got.iter().zip([-0.9247, -0.4253, -2.6438, 0.1452]) {
            assert!((got - want).abs() < 5e-5, "{got} is not {want}");
        }
    }
}
