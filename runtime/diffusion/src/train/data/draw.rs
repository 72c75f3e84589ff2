//! Random numbers that are a function of where they are used.
//!
//! Facts: Steele, Lea and Flood, "Fast Splittable Pseudorandom Number Generators" (2014): SplitMix64.

/// What a number is drawn for: numbers of different purposes have nothing in common.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stream {
    Order = 1,
    ClassOrder,
    Flip,
    Crop,
    Caption,
    Timestep,
    Noise,
    OffsetNoise,
    Dropout,
}

/// A generator for one purpose at one place.
#[derive(Debug, Clone)]
pub struct Draw(u64);

impl Draw {
    /// For `stream` at `index` (a micro-batch, an epoch) and `item` (a place in it).
    pub fn new(seed: u64, stream: Stream, index: u64, item: u64) -> Self {
        let mut state = seed;
        for word in [stream as u64, index, item] {
            state = Self(state ^ word.wrapping_mul(0xd1b5_4a32_d192_ed03)).bits();
        }
        Self(state)
    }

    /// 64 bits.
    pub fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// From 0 to below 1.
    pub fn unit(&mut self) -> f64 {
        (self.bits() >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// From 0 to below `limit`, which is above 0. Uneven by less than limit/2⁶⁴.
    pub fn below(&mut self, limit: u64) -> u64 {
        ((u128::from(self.bits()) * u128::from(limit)) >> 64) as u64
    }

    /// Fisher and Yates.
    pub fn shuffle<T>(&mut self, values: &mut [T]) {
        for i in (1..values.len()).rev() {
            values.swap(i, self.below(i as u64 + 1) as usize);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_published_sequence_comes_out() {
        let mut draw = Draw(1_234_567);
        let want = [6_457_827_717_110_365_317, 3_203_168_211_198_807_973, 9_817_491_932_198_370_423];
        assert_eq!([draw.bits(), draw.bits(), draw.bits()], want);
    }

    #[test]
    fn places_are_independent_and_numbers_even() {
        let mut counts = [0_u32; 10];
        let mut seen = std::collections::HashSet::new();
        for index in 0..1000 {
            for stream in [Stream::Flip, Stream::Crop] {
                for item in 0..5 {
                    let mut draw = Draw::new(7, stream, index, item);
                    assert!(seen.insert(draw.clone().bits()));
                    counts[draw.below(10) as usize] += 1;
                }
            }
        }
        assert!(counts.iter().all(|c| (900..1100).contains(c)), "{counts:?}");
        let mut all: Vec<u32> = (0..50).collect();
        Draw::new(1, Stream::Order, 0, 0).shuffle(&mut all);
        let mut sorted = all.clone();
        sorted.sort_unstable();
        assert!(all != sorted && sorted == (0..50).collect::<Vec<_>>());
    }
}
