//! numpy's `SeedSequence`: entropy and the place in a tree become seeds.
//!
//! Facts: numpy's `numpy/random/bit_generator.pyx`, after Melissa O'Neill's `randutils` ("Developing a
//! seed_seq Alternative", 2015).

const INIT_A: u32 = 0x43b0_d7e5;
const MULT_A: u32 = 0x931e_8875;
const INIT_B: u32 = 0x8b51_f9dd;
const MULT_B: u32 = 0x58f3_8ded;
const MIX_LEFT: u32 = 0xca01_f9dd;
const MIX_RIGHT: u32 = 0x4973_f715;

/// A pool of mixed entropy.
#[derive(Debug, Clone)]
pub struct SeedSequence {
    pool: Vec<u32>,
}

/// The multiplier that each hashed word changes.
struct Hash(u32);

impl Hash {
    fn of(&mut self, value: u32) -> u32 {
        let value = value ^ self.0;
        self.0 = self.0.wrapping_mul(MULT_A);
        let value = value.wrapping_mul(self.0);
        value ^ (value >> 16)
    }
}

fn mix(x: u32, y: u32) -> u32 {
    let value = MIX_LEFT.wrapping_mul(x).wrapping_sub(MIX_RIGHT.wrapping_mul(y));
    value ^ (value >> 16)
}

/// Little-endian words without leading zeros, at least one: Python's integers as numpy takes them.
fn words(value: u64) -> Vec<u32> {
    let (low, high) = (value as u32, (value >> 32) as u32);
    if high == 0 { vec![low] } else { vec![low, high] }
}

impl SeedSequence {
    /// As `SeedSequence(entropy, spawn_key=…, pool_size=…)`; `pool_size` is four or more.
    pub fn new(entropy: u64, spawn_key: &[u64], pool_size: usize) -> Self {
        let mut assembled = words(entropy);
        if !spawn_key.is_empty() && assembled.len() < pool_size {
            // So that the key of a short entropy is not the entropy of another.
            assembled.resize(pool_size, 0);
        }
        assembled.extend(spawn_key.iter().flat_map(|key| words(*key)));

        let mut hash = Hash(INIT_A);
        let word = |i: usize| assembled.get(i).copied().unwrap_or(0);
        let mut pool: Vec<u32> = (0..pool_size).map(|i| hash.of(word(i))).collect();
        for from in 0..pool_size {
            for to in 0..pool_size {
                if from != to {
                    pool[to] = mix(pool[to], hash.of(pool[from]));
                }
            }
        }
        for extra in assembled.iter().skip(pool_size) {
            for value in &mut pool {
                *value = mix(*value, hash.of(*extra));
            }
        }
        Self { pool }
    }

    /// As `generate_state(count)`: 32-bit words.
    pub fn generate_state(&self, count: usize) -> Vec<u32> {
        let mut hash = INIT_B;
        (0..count)
            .map(|i| {
                let value = self.pool[i % self.pool.len()] ^ hash;
                hash = hash.wrapping_mul(MULT_B);
                let value = value.wrapping_mul(hash);
                value ^ (value >> 16)
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_place_in_the_tree_matters() {
        let state = |entropy, key: &[u64]| SeedSequence::new(entropy, key, 24).generate_state(4);
        let all =
            [state(1, &[]), state(1, &[0, 0]), state(1, &[1, 0]), state(2, &[0, 0]), state(1 << 32, &[])];
        for (i, a) in all.iter().enumerate() {
            assert!(all[..i].iter().all(|b| a != b), "{i}");
        }
    }
}
