//! Logarithm, sine and cosine as torch's AVX2 code approximates them when it makes normal numbers.
//!
//! The polynomials are those of Moshier's Cephes library for single precision. Which products are
//! fused with which sums is part of the result; the order here was found by comparing all bits of
//! 65,536 numbers of torch 2.15 on x86-64. A better approximation would be another picture.

#![allow(
    clippy::excessive_precision,
    reason = "the constants are kept as published, so that they can be compared"
)]

/// The natural logarithm of a positive, normal number.
pub(super) fn log(x: f32) -> f32 {
    const P: [f32; 9] = [
        7.0376836292e-2,
        -1.1514610310e-1,
        1.1676998740e-1,
        -1.2420140846e-1,
        1.4249322787e-1,
        -1.6668057665e-1,
        2.0000714765e-1,
        -2.4999993993e-1,
        3.3333331174e-1,
    ];
    const SQRT_HALF: f32 = std::f32::consts::FRAC_1_SQRT_2;
    let bits = x.max(f32::MIN_POSITIVE).to_bits();
    let mut exponent = ((bits >> 23) as i32 - 0x7f) as f32 + 1.0;
    // The mantissa, from 0.5 to 1.
    let half = f32::from_bits((bits & 0x007f_ffff) | 0x3f00_0000);
    let mut m = half - 1.0;
    if half < SQRT_HALF {
        exponent -= 1.0;
        m += half;
    }
    let z = m * m;
    let mut y = P[0];
    for p in &P[1..] {
        y = y.mul_add(m, *p);
    }
    y *= m;
    y = y.mul_add(z, exponent * -2.12194440e-4);
    y = z.mul_add(-0.5, y);
    exponent.mul_add(0.693359375, m + y)
}

/// Sine and cosine of an angle from 0 to 2π.
pub(super) fn sin_cos(angle: f32) -> (f32, f32) {
    const FOUR_OVER_PI: f32 = 1.27323954473516;
    // π/4 in three parts, for an exact reduction.
    const PARTS: [f32; 3] = [-0.78515625, -2.4187564849853515625e-4, -3.77489497744594108e-8];
    let octant = ((angle * FOUR_OVER_PI) as i32 + 1) & !1;
    let y = octant as f32;
    let mut x = angle;
    for part in PARTS {
        x = y.mul_add(part, x);
    }
    let sin_sign = if octant & 4 == 0 { 1.0 } else { -1.0 };
    let cos_sign = if !(octant - 2) & 4 == 0 { 1.0 } else { -1.0 };
    let z = x * x;
    let mut c = 2.443315711809948e-5_f32;
    c = c.mul_add(z, -1.388731625493765e-3);
    c = c.mul_add(z, 4.166664568298827e-2);
    c *= z;
    c = c.mul_add(z, -(z * 0.5)) + 1.0;
    let mut s = -1.9515295891e-4_f32;
    s = s.mul_add(z, 8.3321608736e-3);
    s = s.mul_add(z, -1.6666654611e-1);
    s *= z;
    s = s.mul_add(x, x);
    let (sin, cos) = if octant & 2 == 0 { (s, c) } else { (c, s) };
    (sin * sin_sign, cos * cos_sign)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_approximations_are_close_to_the_functions() {
        for i in 1..=1000 {
            let x = i as f32 / 1000.0;
            assert!((log(x) - x.ln()).abs() <= 2e-7 * x.ln().abs().max(1.0), "{x}");
            let angle = x * std::f32::consts::TAU;
            let (sin, cos) = sin_cos(angle);
            assert!((sin - angle.sin()).abs() < 3e-7 && (cos - angle.cos()).abs() < 3e-7, "{angle}");
        }
    }
}
