//! The way between two noises that keeps their variance.

/// A1111's `slerp` on one latent `[channels, height, width]`: every column of every channel is a vector
/// that is turned from `low` to `high` by the share `at`; columns of nearly one direction are mixed.
pub(super) fn slerp(at: f32, low: &[f32], high: &[f32], shape: (usize, usize, usize)) -> Vec<f32> {
    let (channels, height, width) = shape;
    let column = |c: usize, x: usize| (0..height).map(move |y| (c * height + y) * width + x);
    let dot = |c: usize, x: usize| -> f32 {
        let norm = |v: &[f32]| column(c, x).map(|i| f64::from(v[i]).powi(2)).sum::<f64>().sqrt() as f32;
        let (a, b) = (norm(low), norm(high));
        column(c, x).map(|i| f64::from(low[i] / a) * f64::from(high[i] / b)).sum::<f64>() as f32
    };
    let places: Vec<_> = (0..channels).flat_map(|c| (0..width).map(move |x| (c, x))).collect();
    let dots: Vec<f32> = places.iter().map(|(c, x)| dot(*c, *x)).collect();
    let mean = dots.iter().map(|d| f64::from(*d)).sum::<f64>() / dots.len().max(1) as f64;
    if mean > 0.9995 {
        // The shares are this way round in the web UI.
        return low.iter().zip(high).map(|(l, h)| l * at + h * (1.0 - at)).collect();
    }
    let mut out = vec![0.0; low.len()];
    for ((c, x), dot) in places.into_iter().zip(dots) {
        // Rounding may leave a cosine just above one.
        let angle = dot.clamp(-1.0, 1.0).acos();
        let sine = angle.sin();
        let (keep, take) = if sine == 0.0 {
            (1.0 - at, at)
        } else {
            (((1.0 - at) * angle).sin() / sine, (at * angle).sin() / sine)
        };
        for i in column(c, x) {
            out[i] = keep * low[i] + take * high[i];
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ends_are_the_noises_and_the_middle_keeps_the_length() {
        let shape = (1, 2, 1);
        let (low, high) = ([3.0, 0.0], [0.0, 3.0]);
        let close = |a: Vec<f32>, b: [f32; 2]| a.iter().zip(b).all(|(a, b)| (a - b).abs() < 1e-6);
        assert!(close(slerp(0.0, &low, &high, shape), low));
        assert!(close(slerp(1.0, &low, &high, shape), high));
        let root = 3.0 / 2.0_f32.sqrt();
        assert!(close(slerp(0.5, &low, &high, shape), [root, root]));
        assert_eq!(slerp(0.25, &low, &low, shape), low);
    }
}
