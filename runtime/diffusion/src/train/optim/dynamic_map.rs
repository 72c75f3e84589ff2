//! Eight-bit numbers for the state of optimisers: dynamic tree quantisation with one scale a block.
//!
//! Facts: Dettmers, Lewis, Shleifer and Zettlemoyer, "8-bit Optimizers via Block-wise Quantization" (2022),
//! section 2; the paper's blocks have 2048 values, later practice and this file 256. The numbers are stored
//! in an order of this file's own.

use std::sync::OnceLock;

/// Values that share a scale.
pub const BLOCK: usize = 256;
/// Powers of ten that the codes span.
const DECADES: i32 = 7;

/// The 256 numbers that a code can mean, sorted, from -1 (or 0) to 1.
///
/// Each decade below the largest has half as many codes as the one above it, so large values keep two and
/// small ones one digit. A value in the top decade is off by at most 0.9/128 of the block's largest if it
/// has a sign (64 codes), by 0.9/256 if it has none (128 codes).
#[derive(Debug)]
pub struct DynamicMap {
    numbers: [f32; 256],
}

impl DynamicMap {
    /// For values of either sign: means of gradients.
    pub fn signed() -> &'static Self {
        static MAP: OnceLock<DynamicMap> = OnceLock::new();
        MAP.get_or_init(|| Self::build(true))
    }

    /// For values from zero: means of squares.
    pub fn unsigned() -> &'static Self {
        static MAP: OnceLock<DynamicMap> = OnceLock::new();
        MAP.get_or_init(|| Self::build(false))
    }

    fn build(signed: bool) -> Self {
        let mut all = vec![0.0_f64, 1.0];
        for decade in 0..DECADES {
            let count = 1_usize << (decade + i32::from(!signed));
            let scale = 10_f64.powi(decade + 1 - DECADES);
            for i in 0..count {
                let number = scale * (0.1 + 0.9 * (i as f64 + 0.5) / count as f64);
                all.push(number);
                if signed {
                    all.push(-number);
                }
            }
        }
        all.sort_by(f64::total_cmp);
        let mut numbers = [0.0_f32; 256];
        for (to, from) in numbers.iter_mut().zip(&all) {
            *to = *from as f32;
        }
        Self { numbers }
    }

    /// The number of a code.
    pub fn number(&self, code: u8) -> f32 {
        self.numbers[usize::from(code)]
    }

    /// The code of zero: of a state that saw no gradient yet.
    pub fn zero(&self) -> u8 {
        self.code(0.0)
    }

    /// The nearest code. What is not a number becomes the largest.
    pub fn code(&self, value: f32) -> u8 {
        let above = self.numbers.partition_point(|n| *n < value).min(255);
        let below = above.saturating_sub(1);
        let nearer = if value - self.numbers[below] < self.numbers[above] - value { below } else { above };
        nearer as u8
    }

    /// Writes the codes of a block and returns its scale, the largest magnitude in it.
    ///
    /// For values from zero, one above zero never becomes zero: as the divisor of an update it would throw
    /// the variable away.
    pub fn encode(&self, values: &[f32], codes: &mut [u8]) -> f32 {
        let scale = values.iter().fold(0.0_f32, |most, v| most.max(v.abs()));
        let inverse = if scale > 0.0 { 1.0 / scale } else { 0.0 };
        let unsigned = self.numbers[0] == 0.0;
        for (value, code) in values.iter().zip(codes) {
            *code = self.code(value * inverse);
            if unsigned && *code == 0 && *value > 0.0 {
                *code = 1;
            }
        }
        scale
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_is_the_code_of_its_number() {
        for (map, least) in [(DynamicMap::signed(), -1.0_f32), (DynamicMap::unsigned(), 0.0)] {
            assert!(map.numbers.windows(2).all(|w| w[0] < w[1]));
            assert!((map.numbers[0] - least).abs() < 0.01, "{}", map.numbers[0]);
            assert_eq!(map.number(map.zero()), 0.0);
            for code in 0..=255 {
                assert_eq!(map.code(map.number(code)), code);
            }
        }
    }

    #[test]
    fn values_come_back_within_the_stated_error() {
        let values: Vec<f32> = (1..=256).map(|i| (i as f32 / 256.0).powi(3) * 7.5).collect();
        let signed: Vec<f32> =
            values.iter().enumerate().map(|(i, v)| if i % 2 == 0 { -v } else { *v }).collect();
        for (map, values, bound) in
            [(DynamicMap::signed(), &signed, 0.9 / 128.0), (DynamicMap::unsigned(), &values, 0.9 / 256.0)]
        {
            let mut codes = [0; 256];
            let scale = map.encode(values, &mut codes);
            assert_eq!(scale, 7.5);
            for (value, code) in values.iter().zip(codes) {
                let error = (map.number(code) * scale - value).abs();
                assert!(error <= scale * bound * 1.0001, "{value}: {error}");
            }
        }
    }

    #[test]
    fn a_small_square_does_not_become_zero_and_hostile_values_have_codes() {
        let mut codes = [0; 3];
        let scale = DynamicMap::unsigned().encode(&[1.0, 1e-12, 0.0], &mut codes);
        assert_eq!((scale, codes[1], codes[2]), (1.0, 1, 0));
        for value in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
            DynamicMap::signed().code(value);
        }
        assert_eq!(DynamicMap::signed().encode(&[0.0; 3], &mut codes), 0.0);
    }
}
