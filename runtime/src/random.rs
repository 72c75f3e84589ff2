//! Numbers that nobody has to be unable to guess: jitter, and seeds that a person did not choose.

use std::hash::{BuildHasher, RandomState};

/// 64 random bits, from the keys that the standard library draws for its hash maps. Unlike a generator crate in
/// a static binary it works where there is no `/dev`, so a delay cannot panic.
pub(crate) fn bits() -> u64 {
    RandomState::new().hash_one(0_u8)
}

/// Uniform in 0 to 1.
pub(crate) fn fraction() -> f64 {
    f64::from((bits() >> 32) as u32) / f64::from(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fractions_spread_over_the_whole_range() {
        let drawn: Vec<f64> = (0..1000).map(|_| fraction()).collect();
        assert!(drawn.iter().all(|value| (0.0..=1.0).contains(value)));
        for tenth in 0..10 {
            let range = f64::from(tenth) / 10.0..f64::from(tenth + 1) / 10.0;
            let count = drawn.iter().filter(|value| range.contains(value)).count();
            assert!((50..=150).contains(&count), "{count} of 1000 in {range:?}");
        }
    }
}
