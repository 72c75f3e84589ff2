//! Fresh noise in place of old: what ancestral samplers share.

use candle_core::{Result, Tensor};

use super::world::World;

/// Splits a step into a deterministic part down to `down` and noise of deviation `up`: k-diffusion's
/// `get_ancestral_step`.
pub(super) fn ancestral_step(from: f64, to: f64, eta: f64) -> (f64, f64) {
    if eta == 0.0 {
        return (to, 0.0);
    }
    let variance = to * to * (from * from - to * to) / (from * from);
    let up = to.min(eta * variance.max(0.0).sqrt());
    ((to * to - up * up).max(0.0).sqrt(), up)
}

/// `x` with a picture's next noise of this deviation. The noise is drawn even if nothing of it is used,
/// as the reference does: the next draw depends on it.
pub(super) fn with_noise(x: Tensor, world: &mut dyn World, deviation: f64) -> Result<Tensor> {
    let noise = world.noise()?;
    if deviation == 0.0 { Ok(x) } else { x + (noise * deviation)? }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_step_keeps_the_variance_and_ends_clean() {
        for (from, to) in [(4518.0, 14.0), (14.6, 10.0), (1.0, 0.5), (0.1, 0.03)] {
            let (down, up) = ancestral_step(from, to, 1.0);
            assert!((down * down + up * up - to * to).abs() < 1e-12 * to * to, "{from} {to}");
        }
        assert_eq!(ancestral_step(0.03, 0.0, 1.0), (0.0, 0.0));
        assert_eq!(ancestral_step(2.0, 1.0, 0.0), (1.0, 0.0));
    }
}
