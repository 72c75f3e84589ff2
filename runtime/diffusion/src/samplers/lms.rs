//! A linear multistep method of order four: k-diffusion's `sample_lms`.

use std::collections::VecDeque;

use candle_core::{Result, Tensor};

use super::entry::Entry;
use super::walk::{Level, Solver, Walk, slope};
use super::world::World;

pub(super) static LMS: Entry = Entry {
    aliases: &[("k_lms", None), ("lmsdiscrete", None)],
    ..Entry::plain("LMS", |plan| Walk::boxed(plan, Lms::default()))
};

const ORDER: usize = 4;

#[derive(Default)]
struct Lms {
    /// The latest first.
    slopes: VecDeque<Tensor>,
}

impl Solver for Lms {
    fn step(&mut self, at: &Level, x: &Tensor, world: &mut dyn World) -> Result<Tensor> {
        let clean = world.denoised(x, at.sigma() as f32)?;
        self.slopes.push_front(slope(x, &clean, at.sigma())?);
        self.slopes.truncate(ORDER);
        let mut x = x.clone();
        for (j, slope) in self.slopes.iter().enumerate() {
            x = (x + (slope * coefficient(at, self.slopes.len(), j))?)?;
        }
        Ok(x)
    }
}

/// The integral over the step of the Lagrange polynomial that is one at the `j`-th level back.
///
/// Its degree is at most three, for which Gauss' rule of two points is exact.
fn coefficient(at: &Level, order: usize, j: usize) -> f64 {
    let level = |back: usize| f64::from(at.sigmas[at.index - back]);
    let polynomial = |tau: f64| -> f64 {
        (0..order).filter(|k| *k != j).map(|k| (tau - level(k)) / (level(j) - level(k))).product()
    };
    let (middle, half) = (0.5 * (at.sigma() + at.next()), 0.5 * (at.next() - at.sigma()));
    let away = half / 3.0_f64.sqrt();
    half * (polynomial(middle - away) + polynomial(middle + away))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn coefficients_of_even_levels_are_those_of_adams_and_bashforth() {
        let sigmas = [5.0, 4.0, 3.0, 2.0, 1.0];
        let at = Level { index: 3, sigmas: &sigmas };
        for (j, want) in [55.0, -59.0, 37.0, -9.0].into_iter().enumerate() {
            assert!((coefficient(&at, 4, j) + want / 24.0).abs() < 1e-12, "{j}");
        }
    }
}
