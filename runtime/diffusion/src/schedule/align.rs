//! Align Your Steps: noise levels that NVIDIA optimised for two models.
//!
//! Facts: Sabour et al. 2024 and its how-to page (eleven levels per model, interpolated linearly in the
//! logarithm for other counts).

use super::linspace::linspace_f64;
use super::options::AlignedModel;

const SD1: [f64; 11] = [14.615, 6.475, 3.861, 2.697, 1.886, 1.396, 0.963, 0.652, 0.399, 0.152, 0.029];
const SDXL: [f64; 11] = [14.615, 6.315, 3.771, 2.181, 1.342, 0.862, 0.555, 0.380, 0.234, 0.113, 0.029];

/// `steps` noise levels, without the zero at the end.
pub(super) fn align_your_steps(model: AlignedModel, steps: usize) -> Vec<f32> {
    let levels = match model {
        AlignedModel::Sd1 => SD1,
        AlignedModel::Sdxl => SDXL,
    };
    if steps == levels.len() {
        return levels.iter().map(|s| *s as f32).collect();
    }
    // Counted from the small end, so that one step is the smallest level, as the reference has it.
    let mut sigmas: Vec<f32> =
        linspace_f64(0.0, 1.0, steps).into_iter().map(|at| interpolate(&levels, at)).collect();
    sigmas.reverse();
    sigmas
}

/// The level at `at`, 0 the smallest to 1 the largest.
fn interpolate(falling: &[f64; 11], at: f64) -> f32 {
    let last = falling.len() - 1;
    let position = at * last as f64;
    let low = (position.floor() as usize).min(last - 1);
    let (a, b) = (falling[last - low].ln(), falling[last - low - 1].ln());
    (a + (b - a) * (position - low as f64)).exp() as f32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn published_levels_stand_at_their_places() {
        let ten = align_your_steps(AlignedModel::Sdxl, 11);
        assert_eq!((ten[1], ten[10]), (6.315, 0.029));
        // Every second of 21 is a published one.
        for (i, want) in SD1.iter().enumerate() {
            let got = align_your_steps(AlignedModel::Sd1, 21)[2 * i];
            assert!((f64::from(got) - want).abs() < 1e-6, "{i}: {got}");
        }
    }
}
