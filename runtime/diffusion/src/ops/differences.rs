//! Gradients against differences: for tests.

use candle_core::{Device, Result, Tensor, Var};

use crate::random::TorchRng;

/// Normal numbers.
pub(crate) fn noise(shape: &[usize], seed: u64) -> Tensor {
    let count = shape.iter().product();
    Tensor::from_vec(TorchRng::new(seed).randn(count), shape, &Device::Cpu).unwrap()
}

/// Normal numbers that are trained.
pub(crate) fn variable(shape: &[usize], seed: u64) -> Var {
    Var::from_tensor(&noise(shape, seed)).unwrap()
}

/// The gradient of each variable along random directions is what steps along them show. What `forward`
/// gives is multiplied by random numbers to become one.
///
/// Steps of 1/50 and twice that, extrapolated to none: their error is of the fourth order, and f32 leaves
/// about 1e-5 of the values' size. A gradient without one of its terms is off by a tenth and more.
#[track_caller]
pub(crate) fn assert_gradients(name: &str, variables: &[&Var], forward: impl Fn() -> Result<Tensor>) {
    let shape = forward().unwrap().dims().to_vec();
    let by = noise(&shape, 77);
    let by_values = by.flatten_all().unwrap().to_vec1::<f32>().unwrap();
    let value = || -> f64 {
        let out = forward().unwrap().flatten_all().unwrap().to_vec1::<f32>().unwrap();
        out.iter().zip(&by_values).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum()
    };
    let grads = (forward().unwrap() * by).unwrap().sum_all().unwrap().backward().unwrap();
    for (index, var) in variables.iter().enumerate() {
        let grad = grads.get(var).unwrap_or_else(|| panic!("{name}: variable {index} has no gradient"));
        assert_eq!(grad.dims(), var.dims(), "{name}: variable {index}");
        let length = (grad.sqr().unwrap().sum_all().unwrap().to_scalar::<f32>().unwrap()).sqrt();
        assert!(length > 0.0, "{name}: the gradient of variable {index} is zero");
        let start = var.as_tensor().copy().unwrap();
        for seed in 0..2 {
            let direction = noise(var.dims(), 100 + 10 * index as u64 + seed);
            let along = (grad * &direction).unwrap().sum_all().unwrap().to_scalar::<f32>().unwrap();
            let at = |h: f64| {
                var.set(&(&start + (&direction * h).unwrap()).unwrap()).unwrap();
                value()
            };
            let slope = |h: f64| (at(h) - at(-h)) / (2.0 * h);
            // Along the gradient's own size, a unit of direction moves about as much as `length`.
            let h = 0.02 / (direction.elem_count() as f64).sqrt().max(1.0);
            let want = (4.0 * slope(h) - slope(2.0 * h)) / 3.0;
            var.set(&start.copy().unwrap()).unwrap();
            let off = (f64::from(along) - want).abs();
            assert!(
                off <= 4e-3 * f64::from(length).max(want.abs()),
                "{name}: variable {index} has {along} along direction {seed}, steps show {want}"
            );
        }
    }
}
