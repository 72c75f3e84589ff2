//! Clipping by the norm of all gradients together: torch's `clip_grad_norm_`.

/// The Euclidean norm over all elements of all gradients, summed in f64.
pub fn global_norm<'g>(gradients: impl IntoIterator<Item = &'g [f32]>) -> f64 {
    let square = |gradient: &[f32]| gradient.iter().map(|g| f64::from(*g).powi(2)).sum::<f64>();
    gradients.into_iter().map(square).sum::<f64>().sqrt()
}

/// What every gradient is to be multiplied by, so that the norm is at most `limit`.
pub fn clip_factor(norm: f64, limit: f64) -> f32 {
    (limit / (norm + 1e-6)).min(1.0) as f32
}
