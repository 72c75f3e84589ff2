//! The beta distribution, for the schedule of Lee et al. 2024, "Beta Sampling is All You Need".

/// Parameter of both ends: A1111's default for alpha and beta.
const SHAPE: f64 = 0.6;
/// Halvings of [0, 1]: past these the interval is one number wide.
const HALVINGS: usize = 60;
/// The fraction converges in some dozens of terms on the side where it is used.
const TERMS: usize = 300;

/// Where the distribution function reaches `p` (0 to 1): scipy's `beta.ppf(p, 0.6, 0.6)`.
pub(super) fn inverse_beta(p: f64) -> f64 {
    if p <= 0.0 || p >= 1.0 {
        return p.clamp(0.0, 1.0);
    }
    // Both parameters are equal, so the halves mirror each other; near 0 numbers are finer.
    if p > 0.5 {
        return 1.0 - inverse_beta(1.0 - p);
    }
    let (mut low, mut high) = (0.0, 0.5);
    for _ in 0..HALVINGS {
        let middle = 0.5 * (low + high);
        if distribution(middle) < p {
            low = middle;
        } else {
            high = middle;
        }
    }
    0.5 * (low + high)
}

/// The regularised incomplete beta function for x from 0 to 1/2: its power in front and the continued
/// fraction DLMF 8.17.22, evaluated by Lentz' method.
fn distribution(x: f64) -> f64 {
    if x <= 0.0 {
        return 0.0;
    }
    let front = (SHAPE * (x.ln() + (-x).ln_1p()) - ln_beta()).exp() / SHAPE;
    front * fraction(x)
}

fn fraction(x: f64) -> f64 {
    const TINY: f64 = 1e-300;
    let away = |v: f64| if v.abs() < TINY { TINY } else { v };
    let (a, b) = (SHAPE, SHAPE);
    let mut c = 1.0;
    let mut d = 1.0 / away(1.0 - (a + b) * x / (a + 1.0));
    let mut value = d;
    for m in 1..TERMS {
        let m = m as f64;
        let even = m * (b - m) * x / ((a + 2.0 * m - 1.0) * (a + 2.0 * m));
        let odd = -(a + m) * (a + b + m) * x / ((a + 2.0 * m) * (a + 2.0 * m + 1.0));
        let before = value;
        for term in [even, odd] {
            d = 1.0 / away(1.0 + term * d);
            c = away(1.0 + term / c);
            value *= c * d;
        }
        if (value - before).abs() <= 1e-16 * value.abs() {
            break;
        }
    }
    value
}

/// The logarithm of B(0.6, 0.6) = Γ(0.6)² / Γ(1.2).
fn ln_beta() -> f64 {
    const LN_GAMMA_0_6: f64 = 0.398_233_858_069_234_9;
    const LN_GAMMA_1_2: f64 = -0.085_374_090_003_315_85;
    2.0 * LN_GAMMA_0_6 - LN_GAMMA_1_2
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_inverse_is_one_and_the_middle_is_the_middle() {
        assert!((inverse_beta(0.5) - 0.5).abs() < 1e-14);
        assert_eq!((inverse_beta(0.0), inverse_beta(1.0)), (0.0, 1.0));
        for i in 1..100 {
            let p = f64::from(i) / 200.0;
            assert!((distribution(inverse_beta(p)) - p).abs() < 1e-14, "{p}");
        }
    }
}
